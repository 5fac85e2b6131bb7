"""Ends of intervals from replicates, corrected for their bias and for a spread that grows with the estimate: BCa.

With G the distribution of the replicates, z₀ = Φ⁻¹{G(θ̂)} and a the acceleration, the end of probability α is

    G⁻¹{Φ(z₀ + u / (1 − a u))},   u = z₀ + z_α

(Efron 1987; a = 0: bias-corrected, Efron 1981). A monotone transformation of the estimate and its replicates transforms
the ends: quantiles are replicates themselves, rounded outwards. Replicates that lie on a bound beside the estimate are
counted below it for the upper end and above it for the lower one, since they stand for values on either side: so the
upper end of an estimate of zero is no shorter than its replicates allow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array

# Replicates within this share of their range of the estimate are the estimate.
TIE = 1e-9
# Replicates that may be asked for.
MOST = 1e7


@dataclass(frozen=True)
class End:
    """One end of an interval.

    Attributes
    ----------
    value : the outermost replicate where the end lies beyond them, the bound where there is none
    needed : replicates among which the end would be; 0 where it was found, infinite where there is none
    """

    value: float
    needed: float


def corrected_ends(
    replicates: Array, estimate: float, a: float, level: float, low: float, high: float
) -> tuple[End, End]:
    """Lower and upper end within the bounds `low` and `high`.

    Parameters
    ----------
    replicates : (n,); missing ones are left out
    a : acceleration
    """
    from scipy import stats

    x = np.sort(replicates[np.isfinite(replicates)])
    if not len(x) or not np.isfinite(estimate):
        return End(np.nan, 0.0), End(np.nan, 0.0)
    if x[0] == x[-1] == estimate:  # held by fix=, or on a bound in all of them
        return End(estimate, 0.0), End(estimate, 0.0)
    n = len(x)
    tie = TIE * (x[-1] - x[0])
    ends = []
    for sign, bound in ((-1.0, low), (1.0, high)):
        share = np.count_nonzero(x < estimate - tie if sign < 0.0 else x <= estimate + tie) / n
        z0 = float(stats.norm.ppf(np.clip(share, 0.5 / n, 1.0 - 0.5 / n)))
        u = z0 + sign * float(stats.norm.ppf(0.5 + level / 2.0))
        if not 1.0 - a * u > 0.0:  # the spread grows faster than the distance
            ends.append(End(bound, np.inf))
            continue
        z = z0 + u / (1.0 - a * u)
        inner, outer = (float(stats.norm.cdf(s * z)) for s in (1.0, -1.0))  # below the end, and above it
        place = int(np.floor((n + 1) * inner)) if sign < 0.0 else n + 1 - int(np.floor((n + 1) * outer))
        value = float(x[min(max(place, 1), n) - 1])
        beyond = not 1 <= place <= n and abs(value - bound) > tie
        tail = inner if sign < 0.0 else outer
        ends.append(End(value, np.ceil(1.0 / max(tail, 1e-300)) if beyond else 0.0))
    return ends[0], ends[1]


def told(names: list[str], ends: list[tuple[End, End]]) -> str:
    """Which ends were not found, and what would find them; empty where all were."""
    beyond, none = dict[str, float](), []
    for name, pair in zip(names, ends, strict=True):
        for which, end in zip(("lower", "upper"), pair, strict=True):
            if np.isinf(end.needed):
                none.append(f"{name} ({which})")
            elif end.needed:
                beyond[f"{name} ({which})"] = end.needed
    text = []
    if beyond:
        n = max(beyond.values())
        enough = f"n={rounded(n):,} would hold the end" if n < MOST else "no number in reach would hold the end"
        text.append(f"Beyond the replicates, the outermost of them in its place: {', '.join(beyond)}; {enough}.")
    if none:
        text.append(f"No end can be found from replicates: {', '.join(none)}.")
    return "\n".join(text)


def rounded(n: float) -> int:
    """Up to two digits."""
    unit = 10 ** max(int(np.floor(np.log10(n))) - 1, 0)
    return int(np.ceil(n / unit) * unit)
