"""What the engines have in common of what they need: shares of the phases of `remlblup.equations.memory`.

Each engine says what it keeps and what passes while it is built, in an iteration, and while its errors are computed.
"""

from __future__ import annotations

import numpy as np

from remlblup.equations.base import Equations
from remlblup.equations.fixed_errors import TOGETHER
from remlblup.linalg.memory import Need
from remlblup.linalg.row_blocks import HELD
from remlblup.linalg.threads import n_threads
from remlblup.relationship.base import RelationshipBase
from remlblup.structure.distance.base import Distance

POINTS = 2
"""Solutions the loop holds at a time: where it is, which is the best so far but for a moment, and the one that is
tried."""

ROW = 80.0
"""A row of the table of random effects: four numbers, three labels."""


def of_incidence(equations: Equations) -> Need:
    """W, W' unless it is large, and y; and W' while W'W is listed."""
    nnz, dense = _sizes(equations.W)
    return Need.of(
        (24.0 if nnz <= HELD else 12.0) * nnz + dense + 8.0 * sum(equations.W.shape) + 32.0 * len(equations.y),
        24.0 * nnz,
    )


def of_points(equations: Equations) -> Need:
    """The solutions at hand, and the working variates F and R⁻¹F with what F'PF takes."""
    n, m, k = len(equations.y), equations.W.shape[1], len(equations.spec.parameters.lower)
    points = POINTS * 8.0 * (3.0 * m + 2.0 * n)
    return Need.of(points, 8.0 * k * (3.0 * n + 3.0 * m))


def of_table(equations: Equations) -> Need:
    """The table of random effects, and the blocks of errors it is read from."""
    rows = float(sum(d.t * d.q for d in equations.spec.random))
    blocks = float(sum(8.0 * d.q * d.t**2 for d in equations.spec.random))
    return Need.of(2.0 * blocks + ROW * rows, 0.5 * ROW * rows + blocks)


def of_places(equations: Equations) -> float:
    """Matrices over the places of a structure of distance: units and their roots, Σ, h, a derivative, ∂ℓ/∂Σ, and what
    passes while they are made (measured: 20 to 24)."""
    return sum(24.0 * 8.0 * d.t**2 for d in equations.random if isinstance(d.structure, Distance))


def of_effects_by_columns(equations: Equations, columns: int) -> Need:
    """The table of effects, or before it so many columns of P for the levels of the widest term, on every thread."""
    widest = max((d.t * min(columns, d.q) for d in equations.random), default=0)
    errors = 8.0 * len(equations.y) * widest * 6.0 * n_threads()
    table = of_table(equations)
    return Need(table.kept, max(table.peak, 0.5 * table.kept + errors))


def of_responses(equations: Equations) -> Need:
    """Columns of C⁻¹ for the degrees of freedom, with what they are solved in and, where R has more than one variance,
    with the responses of the records."""
    n, m, p = len(equations.y), equations.W.shape[1], equations.spec.p
    columns = min(p, TOGETHER * min(n_threads(), -(-p // TOGETHER)))
    one = equations.residual.pattern.n_coefficients == 1
    by_records = not one or any(d.structure.in_factor for d in equations.random)
    return Need.of(0.0, 8.0 * columns * (3.0 * m + (2.0 * m + 3.0 * n) * by_records))


def of_relationships(relationships: list[RelationshipBase]) -> Need:
    """What relationships make of themselves when the equations ask for their inverses."""
    needs = [r.need for r in {id(r): r for r in relationships}.values()]
    return Need(
        sum(n.kept for n in needs), sum(n.kept for n in needs) + max((n.peak - n.kept for n in needs), default=0.0)
    )


def _sizes(matrix: object) -> tuple[float, float]:
    """Entries of a sparse matrix, or bytes of a dense one."""
    return (0.0, float(matrix.nbytes)) if isinstance(matrix, np.ndarray) else (float(matrix.nnz), 0.0)  # type: ignore[attr-defined]
