"""``python -m remlblup.validation.programs CASE …``: the stored outputs of these cases anew, by R on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from remlblup.validation.programs.scripts import store
from remlblup.validation.programs.stored import stored_cases


def main(argv: Sequence[str] | None = None) -> int:
    """A line per file written; 2 for a name that is no case."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.programs", description=__doc__)
    parser.add_argument("case", nargs="*", help="names of folders; all without")
    options = parser.parse_args(argv)
    cases = {case.name: case for case in stored_cases()}
    if unknown := [name for name in options.case if name not in cases]:
        print(f"No case {', '.join(unknown)}; there are: {', '.join(cases)}.")
        return 2
    for name in options.case or cases:
        for file in store(cases[name]):
            print(file, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
