"""Relationships that follow from descent: A, its inverse, dominance, and their kernels."""
