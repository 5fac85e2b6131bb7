"""Henderson's mixed model equations in factor form."""
