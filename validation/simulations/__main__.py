"""``python -m remlblup.validation.simulations``: run families and print their tables."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from fnmatch import fnmatch

from remlblup.validation.simulations import families
from remlblup.validation.simulations.replicate import run as run_replicate
from remlblup.validation.simulations.table import Summary, lines, summarize, write_csv


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 if any verdict is false, 2 if no family fits the options."""
    options = _parser().parse_args(argv)
    every = families(edge=options.edge)
    chosen = [f for f in every if not options.structure or f.structure in options.structure]
    chosen = [f for f in chosen if not options.family or any(fnmatch(f.name, p) for p in options.family)]
    if options.list or not chosen:
        print("\n".join(f"{f.name:<30} {f.formula}   residual: {f.residual}" for f in chosen or every))
        return 0 if options.list else 2
    summaries: list[Summary] = []
    for family in chosen:
        clock = time.process_time()
        replicates = []
        for number in range(options.first, options.first + options.replicates):
            replicates.append(run_replicate(family, number, thorough=number % options.thorough == 0))
            if options.seconds and time.process_time() - clock > options.seconds:
                break
        summaries.append(summarize(family, replicates))
        print("\n".join(lines(summaries[-1])), flush=True)
    if options.out:
        write_csv(options.out, summaries)
        print(f"Written to {options.out}.")
    false = sum(len(s.false) for s in summaries)
    total = sum(len(s.replicates) for s in summaries)
    print(
        f"{total} fits of {len(summaries)} families, {sum(len(s.converged) for s in summaries)} converged, "
        f"{false} false verdicts."
    )
    return 1 if false else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m remlblup.validation.simulations",
        description="Fit simulated data of known truth: bias, coverage of 95 % intervals, convergence, false verdicts.",
    )
    parser.add_argument("--structure", nargs="+", metavar="NAME", help="only these structures")
    parser.add_argument("--family", nargs="+", metavar="PATTERN", help="only families of these names")
    parser.add_argument("--replicates", type=int, default=200, metavar="N", help="data sets of each family (200)")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="number of the first replicate (0)")
    parser.add_argument(
        "--thorough",
        type=int,
        default=4,
        metavar="N",
        help="every N-th replicate is also restarted from a random point and its slopes are taken (4)",
    )
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="go on to the next family after this much processor time"
    )
    parser.add_argument("--out", metavar="FILE.csv", help="write the table to a CSV file")
    parser.add_argument(
        "--edge", action="store_true", help="the families on the edge of the parameter space: convergence and verdicts"
    )
    parser.add_argument("--list", action="store_true", help="list the families and stop")
    return parser


if __name__ == "__main__":
    sys.exit(main())
