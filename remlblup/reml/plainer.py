"""Where to start a fit whose iterations take long: at the estimates with a plainer relationship of the same levels.

The variances with H of single-step are close to those with the A of its pedigree, whose equations are a hundredth of
the work: most of the way to the maximum is gone there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.choice import make_equations
from remlblup.errors import NotPositiveDefiniteError
from remlblup.linalg.threads import single_threaded
from remlblup.reml.optimum import Options
from remlblup.reml.singular_residual import maximize

# Operations of a factorisation from which a fit is worth another before it, and the share of them that one may take.
LONG, SHARE = 3e9, 0.1
# As near as that, in standard errors, the two maxima are not.
NEAR = 1e-2


@single_threaded
def plainer_start(equations: Equations, options: Options, given: Array, fixed: Array) -> Array | None:
    """θ at the maximum of the plainer model; None where there is none, or something of θ is given."""
    random = equations.spec.random
    plainer = [design.relationship.plainer for design in random]
    whole = options.algorithm == "auto" and options.constrain and bool(np.isnan([given, fixed]).all())
    if not whole or equations.kind != "equations" or all(p is None for p in plainer) or equations.stats.flops < LONG:
        return None
    designs = (d if p is None else replace(d, relationship=p) for d, p in zip(random, plainer, strict=True))
    plain = make_equations(replace(equations.spec, random=tuple(designs)))
    if plain.stats.flops > SHARE * equations.stats.flops:
        return None
    roughly = replace(options, tolerance=max(options.tolerance, NEAR), journal=None)
    try:
        optimum = maximize(plain, roughly, given, fixed, lambda row: None)
    except (NotPositiveDefiniteError, np.linalg.LinAlgError):
        return None
    return optimum.point.theta if optimum.convergence else None
