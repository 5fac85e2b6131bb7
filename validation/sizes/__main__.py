"""The command: ``python -m remlblup.validation.sizes [--sets N] [--design NAME …]``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Callable

import numpy as np
import pandas as pd

import remlblup as rb

LEVEL = 0.05
# What the size of a Kenward–Roger test of LEVEL may be (some four standard errors of 2,000 sets about it).
LEAST, MOST = 0.04, 0.06
METHODS = (
    ("satterthwaite", "average"),
    ("kenward-roger", "average"),
    ("kenward-roger", "expected"),
    ("residual", "average"),
)

Design = Callable[[np.random.Generator], pd.DataFrame]


def blocks(rng: np.random.Generator) -> pd.DataFrame:
    """Six blocks, four treatments, a fifth of the plots lost."""
    d = pd.DataFrame([(b, t) for b in range(6) for t in range(4)], columns=["b", "t"])
    d = d[rng.uniform(size=len(d)) > 0.2].reset_index(drop=True)
    return d.assign(y=rng.normal(0.0, 1.0, 6)[d["b"]] + rng.normal(size=len(d)))


def split_plot(rng: np.random.Generator) -> pd.DataFrame:
    """Five blocks, three whole-plot treatments on whole plots of three, a fifth lost:
    `t` varies between whole plots."""
    d = pd.DataFrame([(b, t, s) for b in range(5) for t in range(3) for s in range(3)], columns=["b", "t", "s"])
    d = d[rng.uniform(size=len(d)) > 0.2].reset_index(drop=True)
    whole = rng.normal(0.0, 1.0, (5, 3))[d["b"], d["t"]]
    return d.assign(y=rng.normal(0.0, 1.0, 5)[d["b"]] + whole + rng.normal(size=len(d)))


def slopes(rng: np.random.Generator) -> pd.DataFrame:
    """Ten subjects with their own slopes on a covariate `t`, three to seven times each."""
    b = np.repeat(np.arange(10), rng.integers(3, 8, 10))
    t = rng.uniform(0.0, 4.0, len(b))
    u = rng.multivariate_normal([0.0, 0.0], [[1.0, 0.2], [0.2, 0.3]], 10)
    return pd.DataFrame({"b": b, "t": t, "y": u[b, 0] + u[b, 1] * t + rng.normal(size=len(b))})


DESIGNS: dict[str, tuple[str, Design, str]] = {
    "blocks": ("y ~ C(t) + (1 | b)", blocks, "C(t)"),
    "split plot": ("y ~ C(t) + C(s) + (1 | b/t)", split_plot, "C(t)"),
    "slopes": ("y ~ t + (1 + t | b)", slopes, "t"),
}


def sizes(name: str, sets: int) -> tuple[dict[tuple[str, str], float], int, int]:
    """The share rejected by each method, of how many sets with a test, and how many had a variance on its bound."""
    formula, design, term = DESIGNS[name]
    hits: Counter[tuple[str, str]] = Counter()
    tested = bound = 0
    for seed in range(sets):
        fit = rb.MixedModel(formula, design(np.random.default_rng(seed))).fit(progress=False)
        bound += "boundary" in fit.status
        p = {m: fit.wald_tests(df=m[0], information=m[1]).loc[term, "p_value"] for m in METHODS}
        tested += 1
        # A test that is missing rejects nothing.
        hits.update(m for m, value in p.items() if value < LEVEL)
    return {m: hits[m] / tested for m in METHODS}, tested, bound


def main() -> int:
    """Sizes of F tests as a table; 1 if that of Kenward & Roger's is outside 4 to 6 %."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.sizes", description=main.__doc__)
    parser.add_argument(
        "--sets", type=int, default=2000, metavar="N", help="simulated sets of each design (default 2000)"
    )
    parser.add_argument("--design", nargs="+", metavar="NAME", choices=list(DESIGNS), default=list(DESIGNS))
    given = parser.parse_args()
    right = True
    print(f"| design | sets | on a bound | {' | '.join(f'{df}, {i}' for df, i in METHODS)} |")
    print(f"|---|---:|---:|{'---:|' * len(METHODS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in given.design:
            found, tested, bound = sizes(name, given.sets)
            cells = []
            for (df, _), share in found.items():
                good = df != "kenward-roger" or LEAST <= share <= MOST
                right &= good
                cells.append(f"{100 * share:.2f} %{'' if good else ', WRONG'}")
            print(f"| {name} | {tested} | {bound} | {' | '.join(cells)} |", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
