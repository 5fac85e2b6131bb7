"""The command: ``python -m remlblup.validation.fuzz --minutes 30``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """1 if any input failed, 2 if hypothesis is missing."""
    try:
        from remlblup.validation.fuzz.kinds import KINDS
        from remlblup.validation.fuzz.run import fuzz
        from remlblup.validation.fuzz.workers import LIMIT
    except ModuleNotFoundError as error:
        if error.name != "hypothesis":
            raise
        print("the fuzzing needs hypothesis: pip install hypothesis", file=sys.stderr)
        return 2
    parser = argparse.ArgumentParser(
        prog="python -m remlblup.validation.fuzz",
        description=(
            "Random inputs: each must end in a right answer or an error of ours. Failures are printed as scripts."
        ),
    )
    parser.add_argument("--minutes", type=float, metavar="M", help="for how long (30, unless --inputs is given)")
    parser.add_argument("--inputs", type=int, metavar="N", help="so many of each kind")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other inputs (1)")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND", help=f"of {', '.join(KINDS)}"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT, metavar="S", help="seconds after which an input hangs (30)"
    )
    parser.add_argument("--no-shrink", action="store_true", help="print failures as they are found, not made smaller")
    given = parser.parse_args(argv)
    minutes = 30.0 if given.minutes is None and given.inputs is None else given.minutes
    found = fuzz(
        given.kinds,
        given.seed,
        None if minutes is None else 60.0 * minutes,
        given.inputs,
        limit=given.limit,
        shrink=not given.no_shrink,
        show=True,
    )
    print(found.table())
    return 1 if found.failures else 0


if __name__ == "__main__":
    sys.exit(main())
