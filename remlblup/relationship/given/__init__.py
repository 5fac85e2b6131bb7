"""Relationships given as a matrix or as its inverse."""
