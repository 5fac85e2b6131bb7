"""V itself: factorised in tiles, or made tridiagonal."""
