"""``python -m remlblup.validation.verdicts``: draw models, judge every verdict, print those that are not true."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import islice

from remlblup.validation.verdicts import Problem, generator, problem
from remlblup.validation.verdicts.families import REPLICATES, family_problems
from remlblup.validation.verdicts.judge import RIGHT, Row, judge
from remlblup.validation.verdicts.scales import scale_problems
from remlblup.validation.verdicts.table import report, write_csv


def main(argv: Sequence[str] | None = None) -> int:
    """1 if any verdict or reason is false."""
    options = _parser().parse_args(argv)
    clock, rows = time.process_time(), []
    for number, one in _problems(options):
        row = judge(one, generator(options.seed, number, 1), options.starts)
        rows.append(row)
        _show(row, options.all or bool(options.number))
        if options.seconds and time.process_time() - clock > options.seconds:
            break
    print(report(rows))
    if options.out:
        write_csv(options.out, rows)
        print(f"Written to {options.out}.")
    return 1 if any(row.faulty for row in rows) else 0


def _problems(options: argparse.Namespace) -> Iterator[tuple[int, Problem]]:
    """The problems asked for, numbered."""
    if options.families:
        yield from enumerate(family_problems(options.replicates))
        return
    if options.scales:
        yield from islice(enumerate(scale_problems()), options.first, options.first + options.models)
        return
    for number in options.number or range(options.first, options.first + options.models):
        yield number, problem(options.seed, number)


def _show(row: Row, everything: bool) -> None:
    if everything or row.category != RIGHT:
        print(row.line())
        if row.category != RIGHT:
            print(f"    {row.reason}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m remlblup.validation.verdicts",
        description=(
            "Random small models against a dense search of the likelihood: is every verdict, and every reason, true?"
        ),
    )
    parser.add_argument("--models", type=int, default=400, metavar="N", help="number of models (400)")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="number of the first (0)")
    parser.add_argument("--number", type=int, nargs="+", metavar="K", help="only these")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other models (1)")
    parser.add_argument("--starts", type=int, default=24, metavar="N", help="random starts of the search (24)")
    parser.add_argument("--seconds", type=float, metavar="S", help="stop after this much processor time")
    parser.add_argument(
        "--families", action="store_true", help="two traits of full-sib families: every fit must converge"
    )
    parser.add_argument(
        "--scales", action="store_true", help="every structure beside residual variances that differ by up to 1e8"
    )
    parser.add_argument(
        "--replicates", type=int, default=REPLICATES, metavar="N", help="sets of each kind of families (25)"
    )
    parser.add_argument("--all", action="store_true", help="print right ones too")
    parser.add_argument("--out", metavar="FILE.csv", help="write a row per model")
    return parser


if __name__ == "__main__":
    sys.exit(main())
