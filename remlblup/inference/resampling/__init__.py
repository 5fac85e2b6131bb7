"""Records drawn from a fit, and the same model for other records."""
