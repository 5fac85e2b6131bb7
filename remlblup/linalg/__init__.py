"""Numerical linear algebra: factors of the coefficient matrix, and dependent columns of a design.

Nothing of it knows about models. `factor.make_factor` gives a factor of a symmetric matrix with a fixed pattern;
`rank.independent` looks after the columns of the fixed effects.
"""
