"""How many records' worth of information each level of a term has once everything else in the model is fitted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from remlblup.equations.cross_products import cross_products
from remlblup.equations.mme import MixedModelEquations
from remlblup.model.specification import Specification
from remlblup.structure.base import Array
from remlblup.structure.pattern import Pattern


def effective_records(spec: Specification, theta: Array, k: int) -> Array:
    """(q,) Σ z² w (1 − leverage) over the records of each level of the scalar term k.

    The leverage of a record is w x'C⁻¹x/σ²_e with C of the mixed model equations without the term: of X alone, the
    diagonal of the hat matrix. The residuals must be independent with one variance.
    """
    design, weights = spec.random[k], spec.weights
    others = tuple(d for j, d in enumerate(spec.random) if j != k)
    left = weights.copy()
    if spec.p or others:
        without = replace(spec, random=others)
        equations = MixedModelEquations(without, "auto")
        parts = spec.parameters.split(theta)
        solution = equations.solve(np.concatenate([part for j, part in enumerate(parts) if j != k]))
        inverse = equations.factor.inverse_on_pattern()
        each = cross_products(sp.csr_array(equations.W), Pattern.diagonal(np.arange(spec.n), weights, spec.n))
        of_entries = equations.layout.cross_product_weights(solution.slots, inverse, len(each.rows))
        left = weights * np.maximum(1.0 - each.traces(of_entries) / parts[-1][0], 0.0)
    Z = design.columns[0]
    return np.asarray(Z.multiply(Z).T @ left)
