"""What PX-EM asks of an engine: the slots of Λ regressed anew."""

from __future__ import annotations

from typing import Any, Protocol

from remlblup.arrays import Array


class Expansion(Protocol):
    """The expanded parameters of PX-EM at a solution (Liu, Rubin & Wu 1998; Foulley & van Dyk 2000)."""

    def regressed(self, solution: Any, ml: bool, how: list[str]) -> tuple[Array, Array]:
        """Slots λ for which E[‖y − Xβ − Σ λ_s Z_s b_s‖² | y] is least, and the ê they leave.

        `how` says of each term which slots move: "free", in proportion ("scaled"), or none ("").
        """
        ...

    def factor(self, k: int, slots: Array) -> Array:
        """Λ of term k with the given slots."""
        ...

    def moments(self, solution: Any, ml: bool, slots: Array, residual: Array) -> Array:
        """E[e'D_r e | y] with other slots and the ê they leave."""
        ...
