"""Histories of searches side by side: of fits, and of tables that other programs or scripts have made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import DataError, OptionError, listed
from remlblup.plot.style import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates

# Lines that can be told apart in grey print too: by their dashes.
LINES = (
    (BLUE, "-"),
    (VERMILION, "--"),
    (GREEN, "-."),
    (PURPLE, ":"),
    (ORANGE, (0, (5, 1, 1, 1, 1, 1))),
    (SKY, (0, (8, 2))),
    (INK, (0, (1, 2))),
)
# Kinds of steps, by how their names begin, each with a marker and a colour: told apart in grey print by the marker.
KINDS = (
    ("start", "start", "v", INK),
    ("moments", "start", "v", INK),
    ("PX-EM", "PX-EM", "D", PURPLE),
    ("AI+", "AI with EM, damping or secant (QN)", "^", ORANGE),
    ("AI", "AI", "o", BLUE),
    ("EM", "EM", "s", GREEN),
    ("strata", "strata", "h", BLUE),
    ("escape", "escape", "*", VERMILION),
    ("release", "release from a bound", "P", VERMILION),
    ("", "other", "X", SKY),
)


@dataclass(frozen=True)
class History:
    """A search to draw.

    Attributes
    ----------
    name : for the legend
    table : iteration, loglik, perhaps step, gradient and parameters
    fit : None for a table from elsewhere
    """

    name: str
    table: pd.DataFrame
    fit: Estimates | None = None

    @property
    def iteration(self) -> Array:
        return self.table["iteration"].to_numpy(dtype=float)

    @property
    def loglik(self) -> Array:
        return self.table["loglik"].to_numpy(dtype=float)

    @property
    def steps(self) -> list[str]:
        """Names of the steps; empty ones where they are not known."""
        return self.table["step"].astype(str).tolist() if "step" in self.table else [""] * len(self.table)


def histories(fit: Estimates, compare: Any) -> list[History]:
    """The history of a fit, and of what it is compared with.

    Raises
    ------
    OptionError
        If what is given is neither a fit nor a table.
    DataError
        If a table has no log-likelihoods.
    """
    given = [fit, *several(compare)]
    named = names([o for o in given if hasattr(o, "convergence") and not isinstance(o, pd.DataFrame)])
    out = []
    for number, other in enumerate(given):
        if isinstance(other, pd.DataFrame):
            out.append(History(str(other.attrs.get("name", f"history {number}")), checked(other, number)))
        elif hasattr(other, "history") and hasattr(other, "convergence"):
            out.append(History(named[len([h for h in out if h.fit is not None])], other.history, other))
        else:
            raise OptionError(
                f"compare= takes fits, and histories as data frames with the columns iteration and loglik, not"
                f" {type(other).__name__}."
            )
    return out


def several(compare: Any) -> list[Any]:
    """What to compare with, one or several."""
    if compare is None:
        return []
    if isinstance(compare, pd.DataFrame) or hasattr(compare, "convergence"):
        return [compare]
    if isinstance(compare, str):
        raise OptionError(f"compare= takes a list of fits or histories, not {compare!r}.")
    return listed("compare= takes a list of fits or histories: it", compare)


def names(fits: list[Any]) -> list[str]:
    """A name for each fit: its algorithm, with the method and a number where that is not enough."""
    plain = {"auto": "AI with rescues", "ai": "AI", "em": "EM", "px-em": "PX-EM"}
    out = [plain[fit.options.algorithm] for fit in fits]
    if len({fit.method for fit in fits}) > 1:
        out = [f"{name}, {fit.method}" for name, fit in zip(out, fits, strict=True)]
    return [f"{name} ({out[: k + 1].count(name)})" if out.count(name) > 1 else name for k, name in enumerate(out)]


def checked(table: pd.DataFrame, number: int) -> pd.DataFrame:
    """A table from elsewhere as a history; without iterations it is numbered from 0."""
    if "loglik" not in table or not len(table):
        columns = ", ".join(map(str, table.columns)) or "none"
        raise DataError(f"history {number} of compare= needs a column 'loglik' and a row; its columns are: {columns}.")
    out = table.reset_index(drop=True)
    if "iteration" not in out:
        out = out.assign(iteration=np.arange(len(out)))
    try:
        out = out.assign(loglik=out["loglik"].astype(float), iteration=out["iteration"].astype(float))
    except (TypeError, ValueError):
        raise DataError(f"history {number} of compare= has an iteration or a loglik that is not a number.") from None
    return out


def comparable(one: History, other: History) -> bool:
    """Whether two log-likelihoods are of the same records, fixed effects and method."""
    if one.fit is None or other.fit is None:
        return False
    a, b = one.fit, other.fit
    same = a.method == b.method and a.n_obs == b.n_obs
    if not same or not np.array_equal(a.specification.y, b.specification.y):
        return False
    return a.method == "ML" or a.specification.fixed.names == b.specification.fixed.names


def expected_gain(fit: Estimates | None) -> float:
    """Half the final Newton decrement; 0 where it is unknown."""
    if fit is None:
        return 0.0
    decrement = next((c.value for c in fit.convergence.criteria if c.name == "Newton decrement"), 0.0)
    return 0.5 * decrement if np.isfinite(decrement) else 0.0


def kind_of(step: str) -> int:
    """Number of the kind of a step."""
    return next(k for k, (start, *_) in enumerate(KINDS) if step.startswith(start))


def mark_steps(ax: Any, x: Array, y: Array, steps: list[str], size: float = 4.5, told: bool = False) -> None:
    """A marker at every point that says by which kind of step it was reached; `told` in the legend."""
    kinds = np.array([kind_of(step) for step in steps])
    for k in np.unique(kinds) if any(steps) else ():
        at, label = kinds == k, step_label(k) if told else None
        ax.plot(x[at], y[at], ls="", marker=KINDS[k][2], ms=size, color=KINDS[k][3], zorder=4, label=label)


def step_label(kind: int) -> str:
    """A kind of step in the legend."""
    return KINDS[kind][1] if KINDS[kind][1] == "start" else f"step {KINDS[kind][1]}"


def tell_steps(ax: Any, steps: list[str]) -> None:
    """The markers of these steps in the legend, behind all that is there."""
    for k in sorted({kind_of(step) for step in steps if step}):
        ax.plot([], [], ls="", marker=KINDS[k][2], ms=5, color=KINDS[k][3], label=step_label(k))
