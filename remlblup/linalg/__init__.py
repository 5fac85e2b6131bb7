"""Numerical linear algebra: factors of the coefficient matrix, and dependent columns of a design.

Nothing of it knows about models. `make_factor` gives a factor of a symmetric matrix with a fixed
pattern; `independent_columns` and `whiten` look after the columns of the fixed effects.
"""

from remlblup.linalg.factor import Factor, FactorStats, make_factor
from remlblup.linalg.rank import Rank, independent_columns, whiten

__all__ = ["Factor", "FactorStats", "Rank", "independent_columns", "make_factor", "whiten"]
