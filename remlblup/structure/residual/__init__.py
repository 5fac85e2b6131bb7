"""Structures of R: its inverse as a list of entries, and their coefficients."""
