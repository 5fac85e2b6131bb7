"""Columns of a design that depend on others, and what that leaves to be estimated."""
