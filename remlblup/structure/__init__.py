"""Covariance structures: of the effects of a term (G) and of the records (R)."""
