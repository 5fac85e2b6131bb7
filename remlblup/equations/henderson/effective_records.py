"""How many records' worth of information each level of a term has once everything else in the model is fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.equations.henderson.cross_products import cross_products
from remlblup.equations.henderson.engine import MixedModelEquations
from remlblup.equations.henderson.layout import build_layout
from remlblup.linalg.factor import make_factor
from remlblup.model.specification import Specification
from remlblup.structure.residual.pattern import Pattern


def effective_records(spec: Specification, theta: Array, k: int) -> Array:
    """(q,) σ²_e z'Mz for the column z of each level of the scalar term k,
    M = V⁻¹ − V⁻¹X(X'V⁻¹X)⁻¹X'V⁻¹ without the term.

    With R = σ²_e W⁻¹ it is z'Wz − l'C⁻¹l/σ²_e, l = z'W[X Z_others], C the equations of the others: their pattern is
    widened by the columns that one level meets. The residuals must be independent with one variance.
    """
    Z, weights = spec.random[k].columns[0], spec.weights
    whole = np.asarray(Z.multiply(Z).T @ weights)
    others = tuple(d for j, d in enumerate(spec.random) if j != k)
    if not spec.p and not others:
        return whole
    equations = MixedModelEquations(replace(spec, random=others), "auto")
    parts = spec.parameters.split(theta)
    solution = equations.solve(np.concatenate([part for j, part in enumerate(parts) if j != k]))
    W, q = sp.csr_array(equations.W), Z.shape[1]
    levels = sp.csr_array(sp.csr_array(Z.T.multiply(weights)) @ W)
    coefficient = np.concatenate([np.zeros(spec.n, np.int64), 1 + np.arange(q)])
    pattern = Pattern.diagonal(coefficient, np.concatenate([weights, np.ones(q)]), 1 + q)
    cross = cross_products(sp.csr_array(sp.vstack([W, levels])), pattern)
    layout = build_layout(cross, spec.p, equations.random)
    factor = make_factor(layout.indptr, layout.indices, layout.m, "auto", layout.groups)
    signs = np.concatenate([np.ones(0), *(signs for _, signs in solution.factors)])
    rho = np.concatenate([solution.rho, np.zeros(q)])
    factor.factorize(layout.assemble(cross.scaled(rho), solution.slots, signs))
    of_entries = layout.cross_product_weights(solution.slots, factor.inverse_on_pattern(), len(cross.rows))
    return np.maximum(whole - cross.traces(of_entries)[1:] / parts[-1][0], 0.0)
