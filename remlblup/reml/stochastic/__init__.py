"""The search where ℓ has no value to climb by: Newton on a score by probes."""
