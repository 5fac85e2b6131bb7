"""PX-EM in factor form: the expanded parameters are the slots of Λ, regressed anew on the columns of Z b̂.

With the model written as y = Xβ + Σ_s λ_s Z_s b_s + e, E[‖y − Xβ − Σ λ_s Z_s b_s‖² | y] is quadratic in λ (Foulley &
van Dyk 2000).
"""

from __future__ import annotations

import numpy as np

from remlblup.arrays import Array
from remlblup.equations.henderson.system import Solution, System


class SlotExpansion:
    """`Expansion` by the slots of Λ."""

    def __init__(self, equations: System):
        self.equations = equations

    def regressed(self, solution: Solution, ml: bool, how: list[str]) -> tuple[Array, Array]:
        """Slots λ regressed anew, and the ê they leave; `how` says of each term which slots move."""
        of_term = [slot.term for slot in self.equations.layout.slots]
        moves = np.array([k >= 0 and bool(how[k]) for k in of_term])
        targets, others = np.flatnonzero(moves), np.flatnonzero(~moves)
        columns = self.slot_columns(solution, targets)
        T, _ = self.equations.slot_traces(solution, ml=ml)
        # The fitted part Σ λ_s Z_s b̂_s is added back to ê: what the slots regress on.
        fitted = columns @ solution.slots[targets]
        residual = self.equations.spec.residual
        weighted = residual.precision(solution.theta[self.equations.spec.parameters.of_residual], columns)
        normal = columns.T @ weighted + T[np.ix_(targets, targets)]
        rhs = weighted.T @ (solution.residual + fitted) - T[np.ix_(targets, others)] @ solution.slots[others]
        directions = np.array(
            [
                *(np.eye(len(solution.slots))[s] for s in targets if how[of_term[s]] == "free"),
                *(np.where(np.array(of_term) == k, solution.slots, 0.0) for k, e in enumerate(how) if e == "scaled"),
            ]
        ).reshape(-1, len(solution.slots))[:, targets]
        slots = solution.slots.copy()
        best = np.linalg.lstsq(directions @ normal @ directions.T, directions @ rhs, rcond=None)[0]
        slots[targets] = directions.T @ best
        return slots, solution.residual + fitted - columns @ slots[targets]

    def slot_columns(self, solution: Solution, targets: np.ndarray) -> Array:
        """The vectors Z_i b̂_a that the slots of Λ multiply, (n, n_targets), zero for the cells filled in."""
        equations = self.equations
        columns = np.zeros((len(equations.y), len(targets)))
        blocks = equations.factor_blocks(solution.b)
        for position, s in enumerate(targets):
            slot = equations.layout.slots[s]
            Z = equations.random[slot.term].columns[slot.i]
            columns[: Z.shape[0], position] = Z @ blocks[slot.term][slot.a]
        return columns

    def factor(self, k: int, slots: Array) -> Array:
        """Λ of term k with the given slots."""
        structure = self.equations.random[k].structure
        factor = np.zeros((structure.size, structure.n_factors))
        for value, slot in zip(slots, self.equations.layout.slots, strict=True):
            if slot.term == k:
                factor[slot.i, slot.a] = value
        return factor

    def moments(self, solution: Solution, ml: bool, slots: Array, residual: Array) -> Array:
        """E[e'D_r e | y] with other slots and the ê they leave."""
        pattern = self.equations.spec.residual.pattern
        return pattern.moments(residual) + self.equations.residual_traces(solution, slots, ml=ml)
