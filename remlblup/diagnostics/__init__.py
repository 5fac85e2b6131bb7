"""Diagnostics: what ℓ looks like around the estimates, residuals, influence, and what a plot may be judged against."""
