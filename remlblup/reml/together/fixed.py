"""No random term: the variance of the residuals of a regression, for many responses."""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.reml.together.outcome import Outcome
from remlblup.reml.together.reduction import Reduction


class FixedOnly:
    """σ² = y'Ny/N of every response.

    Parameters
    ----------
    reduction : of a model without random terms
    """

    def __init__(self, reduction: Reduction):
        self.reduction = reduction

    def maximize(self, Y: Array, tolerance: float, information: bool = False) -> Outcome:
        """The maxima of the responses Y (n, B), offsets taken off."""
        _, s, beta = self.reduction.responses(Y)
        sigma2, N = s / self.reduction.freedom, float(self.reduction.freedom)
        loglik = self.reduction.log_likelihood(s, np.zeros(len(s)))
        nothing = np.zeros((len(s), 1), dtype=bool)
        of_theta = (0.5 * N / sigma2**2)[:, None, None] if information else None
        ones = np.ones(len(s), dtype=np.int64)
        return Outcome(sigma2[:, None], loglik, beta, np.zeros((len(s), 5)), sigma2 > 0.0, ones, nothing, of_theta)
