"""F tests of fixed effects, contrasts and marginal means."""
