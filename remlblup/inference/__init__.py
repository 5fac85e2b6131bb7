"""Tests of fixed effects and marginal means: what the paper says of the estimates."""
