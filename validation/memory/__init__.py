"""Predicted against measured memory: ``python -m remlblup.validation.memory``."""
