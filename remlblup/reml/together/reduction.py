"""What the likelihood of many responses needs of a model with independent residuals, computed once.

With V = σ²(W⁻¹ + ZΓZ'), Γ = Σ/σ² over independent effects (Z multiplied by the root of K), N the weighted projection
that takes off X, and

    M = Z'NZ,   c = Z'Ny,   s = y'Ny,   E = I + Λ'MΛ  for Γ = ΛΛ',

the restricted likelihood depends on the records through M, c and s alone (Patterson & Thompson 1971,
Biometrika 58:545):

    log|V| + log|X'V⁻¹X| = (n − p) log σ² + log|E| − Σ log w + log|X'WX|,   σ² y'Py = s − c'ΛE⁻¹Λ'c.

Of the full likelihood log|V| = n log σ² + log|I + Λ'Z'WZΛ| − Σ log w.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.turned import FAR
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification
from remlblup.relationship.roots import root_times, root_width
from remlblup.structure.base import Structure

# Order of M up to which all is done with dense matrices: with several variances, where each response has an E of its
# own at every step; with one, where a single eigendecomposition serves all.
SEVERAL, ONE = 120, 5000
# Elements of the dense Z.
ELEMENTS = 4e7


@dataclass(frozen=True)
class Reduction:
    """M and what turns responses into c and s.

    Attributes
    ----------
    spec : the model, with any response
    ml : whether ℓ is the full likelihood
    Z : (n, Q) √W Z of independent effects, X taken off
    M : (Q, Q) Z'NZ
    whole : (Q, Q) Z'WZ; of ML
    basis : (n, p) orthonormal basis of √W X
    of_fixed : (p, n) β̂ of √W y by least squares
    of_random : (p, Q) β̂ of √W Z
    constant : Σ log w − log|X'WX|; without the second for ML
    widths : independent effects of each term, by effect
    """

    spec: Specification
    ml: bool
    Z: Array
    M: Array
    whole: Array
    basis: Array
    of_fixed: Array
    of_random: Array
    constant: float
    widths: tuple[int, ...]

    @classmethod
    def of(cls, spec: Specification, ml: bool) -> Reduction:
        """The reduction of a model that `reducible` does not object to."""
        root = np.sqrt(spec.weights)
        X = spec.fixed.work
        X = root[:, None] * (X.toarray() if sp.issparse(X) else np.asarray(X))
        basis, triangle = np.linalg.qr(X)
        Z = np.hstack([np.zeros((spec.n, 0)), *[root[:, None] * independent(design) for design in spec.random]])
        left = Z - basis @ (basis.T @ Z)
        left -= basis @ (basis.T @ left)  # twice is enough
        solved = np.linalg.solve(triangle, basis.T) if spec.p else np.zeros((0, spec.n))
        if spec.fixed.transform is not None:
            solved = spec.fixed.transform @ solved
        constant = float(np.sum(np.log(spec.weights)))
        if not ml:
            logdet = float(np.sum(np.log(np.abs(np.diag(triangle))))) - spec.fixed.logdet_transform
            constant -= 2.0 * logdet
        widths = tuple(root_width(d.relationship) for d in spec.random)
        return cls(
            spec,
            ml,
            left,
            left.T @ left,
            Z.T @ Z if ml else np.zeros((0, 0)),
            basis,
            solved,
            solved @ Z,
            constant,
            widths,
        )

    @property
    def freedom(self) -> int:
        """N of ℓ: n − p, of ML n."""
        return self.spec.n - (0 if self.ml else self.spec.p)

    def responses(self, Y: Array) -> tuple[Array, Array, Array]:
        """c (B, Q), s (B,) and β̂ by least squares (B, p) of responses Y (n, B), offsets taken off."""
        Y = np.sqrt(self.spec.weights)[:, None] * Y
        left = Y - self.basis @ (self.basis.T @ Y)
        left -= self.basis @ (self.basis.T @ left)
        return (self.Z.T @ left).T, np.einsum("ij,ij->j", left, left), (self.of_fixed @ Y).T

    def log_likelihood(self, quadratic: Array, logdet: Array) -> Array:
        """ℓ at the best σ², y'Py = N σ² there, given σ² y'Py and log|E|."""
        N = self.freedom
        return -0.5 * (N * (np.log(2.0 * np.pi * quadratic / N) + 1.0) + logdet - self.constant)


def independent(design: RandomDesign) -> Array:
    """Z (n, t·width) of independent effects: u = (I ⊗ L) b, K = LL'."""
    columns = design.columns
    if design.is_identity:
        return np.hstack([Z.toarray() for Z in columns])
    L = root_times(design.relationship, np.eye(root_width(design.relationship)))
    return np.hstack([Z @ L for Z in columns])


def reducible(spec: Specification, held: np.ndarray, constrain: bool) -> str | None:
    """Why responses cannot be searched together; None if they can."""
    if spec.residual.keyword != "units":
        return f"the residual is '{spec.residual_text}'"
    if held.any() or not constrain:
        return "some values are held" if held.any() else "components may be negative"
    for design in spec.random:
        if not (is_free(design.structure) or is_diagonal(design.structure)):
            return f"'{design.name}' is of the structure '{design.structure.keyword}'"
        if design.least_correlation < FAR:
            return f"the effects of '{design.name}' are nearly the same over the records"
    order = sum(d.t * root_width(d.relationship) for d in spec.random)
    limit = ONE if is_one(spec) else SEVERAL
    if order > limit or float(spec.n) * order > ELEMENTS:
        return f"there are {order:,} random effects"
    return None


def is_one(spec: Specification) -> bool:
    """Whether there is one variance beside that of the residual."""
    return len(spec.random) == 1 and spec.random[0].t == 1


def is_free(structure: Structure) -> bool:
    """Whether Σ is any covariance matrix."""
    return structure.cone or (structure.size == 1 and structure.linear and structure.n_parameters == 1)


def is_diagonal(structure: Structure) -> bool:
    """Whether Σ is diagonal with a variance for each effect."""
    return structure.linear and structure.n_parameters == structure.size and all(i == a for i, a in structure.slots)
