"""What of a dense relationship a few vectors tell: a randomised Nyström approximation, added to M.

With Ω (q, r) of orthonormal columns and Y = KΩ, K̂ = Y(Ω'Y)⁻¹Y' = FF' is no more than K and has its large eigenvalues
(Frangella, Tropp & Udell 2023, SIAM J Matrix Anal Appl 44:718). Where relatives make these large and variances are
mostly genetic, conjugate gradients spend their iterations on them. By Woodbury's identity

    P_{M+FF'} = P_M − P_M F (I + F'P_MF)⁻¹ F'P_M,

F = Σ_k ZF_k σ_k side by side. V is no less than what it was known to be no less than, and FF' beside.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg

from remlblup.arrays import Array
from remlblup.equations.stochastic.preconditioner import ProjectionOfM
from remlblup.equations.stochastic.products import Products
from remlblup.model.design import RandomDesign
from remlblup.model.specification import Specification
from remlblup.relationship.genomic.relationship import UnformedRelationship

# Vectors of a term; of a small one a share of its levels, which is no work saved else.
VECTORS, SHARE = 100, 0.1
# Taken where the middle eigenvalue of F is less than the square of this beside the largest: iterations go with the
# root of the largest that is left, and few that stand alone conjugate gradients find by themselves.
WORTH = 0.5


def sketched(design: RandomDesign) -> bool:
    """Whether a term has one: one effect, and a K that is a sum over markers."""
    relationship = design.relationship
    return isinstance(relationship, UnformedRelationship) and design.t == 1 and relationship.coding.diagonal is None


def width(q: int) -> int:
    """Vectors of a term of q levels."""
    return max(1, min(VECTORS, int(SHARE * q)))


def sketch_bytes(spec: Specification) -> float:
    """Of F_k, and of F and P_M F."""
    return sum(8.0 * width(d.q) * (d.q + 2.0 * spec.n) for d in spec.random if sketched(d))


class Sketch:
    """K̂ of every genomic term of one effect.

    Parameters
    ----------
    products : of V

    Attributes
    ----------
    factors : number of the term, F_k (q, r) with its columns by falling size
    """

    def __init__(self, products: Products):
        self.products = products
        self.factors = {k: nystrom(products, d, k) for k, d in enumerate(products.spec.random) if sketched(d)}

    def beside(self, projection: ProjectionOfM, theta: Array) -> ProjectionOfM | Deflated:
        """P_{M+FF'} at θ, where it is worth its while; else P_M."""
        spec, parts = self.products.spec, self.products.spec.parameters.split(theta)
        variances = {k: float(spec.random[k].structure.covariance(parts[k])[0, 0]) for k in self.factors}
        if not self.factors:
            return projection
        error = 1.0 / float(np.max(spec.residual.pattern.matrix(spec.residual.coefficients(parts[-1])).diagonal()))
        sizes = {k: np.sum(F**2, axis=0) for k, F in self.factors.items()}
        first = 1.0 + sum(s * float(sizes[k][0]) for k, s in variances.items()) / error
        middle = 1.0 + sum(s * float(sizes[k][len(sizes[k]) // 2]) for k, s in variances.items()) / error
        if middle > WORTH**2 * first:
            return projection
        F = [spec.random[k].columns[0] @ (np.sqrt(max(s, 0.0)) * self.factors[k]) for k, s in variances.items()]
        return Deflated(projection, np.hstack(F))


class Deflated:
    """P_{M+FF'}, from P_M and F (n, r)."""

    def __init__(self, projection: ProjectionOfM, F: Array):
        self.projection = projection
        self.PF = projection(F)[0]
        inner = F.T @ self.PF
        self.inner = scipy.linalg.cho_factor(np.eye(len(inner)) + 0.5 * (inner + inner.T))

    def __call__(self, B: Array) -> tuple[Array, Array]:
        """P_{M+FF'}B, (n, c), and B free of X as P_M has it."""
        out, free = self.projection(B)
        out -= self.PF @ scipy.linalg.cho_solve(self.inner, self.PF.T @ free)
        return out, free


def nystrom(products: Products, design: RandomDesign, number: int) -> Array:
    """F (q, r), K̂ = FF'."""
    q = design.q
    Omega = np.linalg.qr(np.random.default_rng([number, q]).standard_normal((q, width(q))))[0]
    Y = products.multiply(design, np.ascontiguousarray(Omega))
    if not Y.any():  # K is zero
        return np.zeros_like(Y)
    shift = 1e-12 * float(np.linalg.norm(Y))  # so that there is a root
    Y = Y + shift * Omega
    core = Omega.T @ Y
    root = scipy.linalg.cholesky(0.5 * (core + core.T), lower=True)
    U, size, _ = scipy.linalg.svd(scipy.linalg.solve_triangular(root, Y.T, lower=True).T, full_matrices=False)
    return np.asarray(U * np.sqrt(np.maximum(size**2 - shift, 0.0)))
