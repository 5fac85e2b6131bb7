"""Relationships between the levels of a random term: pedigrees, identities, and matrices the user gives."""
