"""How often F tests of small unbalanced sets reject what is true: ``python -m remlblup.validation.sizes``."""
