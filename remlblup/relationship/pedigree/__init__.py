"""Pedigrees: read, checked, with groups of parents, clones, sires of dams."""
