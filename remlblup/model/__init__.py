"""From a formula and a data frame to y, X, Z, K and structures."""
