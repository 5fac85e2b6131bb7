"""``python -m remlblup.validation.crosscheck``: how often the reason is named, by kind of disagreement."""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import remlblup as rb
from remlblup.validation.crosscheck.kinds import KINDS
from remlblup.validation.crosscheck.simulate import Disagreement

#: Reasons of theirs beside which the components agree.
COORDINATES = ("loadings rotated", "aliasing of fixed effects")
#: Digits that theirs is printed with.
PRINTED = 6


@dataclass(frozen=True)
class Outcome:
    """One disagreement, judged.

    Attributes
    ----------
    expected, named : the reason, None for none
    visible : whether theirs differs from ours at all, in the digits printed
    verdict : in words
    """

    expected: str | None
    named: str | None
    visible: bool
    verdict: str

    @property
    def right(self) -> bool:
        """A reason that leaves the estimates as they are cannot be named, and nothing else may be."""
        return self.named == (self.expected if self.visible else None)


def judged(kind: str, seed: int, folder: Path) -> Outcome:
    """A disagreement of this kind, written as a table, read and judged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = KINDS[kind](np.random.default_rng([seed, sorted(KINDS).index(kind)]))
        path = folder / f"{kind}.{seed}.csv"
        path.write_text(printed(made), encoding="utf-8")
        check = rb.crosscheck(made.fit, path, data=made.data)
    hidden = check.verdict.startswith(("they agree", "they differ")) and made.reason not in COORDINATES
    return Outcome(made.reason, check.reason, not hidden, check.verdict)


def printed(made: Disagreement) -> str:
    """Theirs as a CSV, with as many digits as programs print."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(["quantity", "term", "effect", "other", "kind", "estimate"])
    for *names, value in made.whole:
        table.writerow([*names, f"{value:.{PRINTED}g}"])
    return stream.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """A line per kind; 1 if fewer than 95 of 100 are right, or any is named where there is none."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.crosscheck", description=__doc__)
    parser.add_argument("--count", type=int, default=20, metavar="N", help="disagreements of each kind (20)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (0)")
    parser.add_argument("--kind", nargs="+", choices=sorted(KINDS), default=list(KINDS), help="only these")
    parser.add_argument("--verbose", action="store_true", help="every verdict that is wrong")
    options = parser.parse_args(argv)
    right = total = false = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kind:
            outcomes = [
                judged(kind, seed, Path(folder)) for seed in range(options.first, options.first + options.count)
            ]
            good = sum(o.right for o in outcomes)
            wrong = [o for o in outcomes if not o.right]
            of_none = [o for o in outcomes if o.expected is None]
            false += sum(o.named is not None for o in of_none)
            if len(of_none) < len(outcomes):
                right, total = right + good, total + len(outcomes)
            hidden = sum(not o.visible for o in outcomes if o.expected is not None)
            print(
                f"{kind:<24}{good:>4} of {len(outcomes)} right{f', {hidden} without an effect' if hidden else ''}",
                flush=True,
            )
            if options.verbose:
                print("".join(f"    {o.expected} | {o.named} | {o.verdict}\n" for o in wrong), end="")
    print(f"\n{right} of {total} reasons named, {false} named where there is none.")
    return int(right < 0.95 * total or false > 0)


if __name__ == "__main__":
    sys.exit(main())
