"""Standard errors, degrees of freedom, intervals, and what can be estimated at all."""
