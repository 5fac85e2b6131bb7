"""Factors by LAPACK: of all of C, of its blocks, of V in tiles."""
