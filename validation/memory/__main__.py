"""The command: ``python -m remlblup.validation.memory [--model NAME …] [--small]``."""

from __future__ import annotations

import argparse
import sys

from remlblup.validation.memory.measured import measured_apart, within
from remlblup.validation.memory.models import EVERY, MODELS, SMALL


def main() -> int:
    """Predicted and measured memory of every model as a table; 1 if a prediction is wrong."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.memory", description=main.__doc__)
    parser.add_argument("--model", nargs="+", metavar="NAME", choices=[*EVERY])
    parser.add_argument("--small", action="store_true", help="models of seconds")
    given = parser.parse_args()
    right = True
    print("| model | engine | fit: predicted | measured | fit and tables: predicted | measured |")
    print("|---|---|---:|---:|---:|---:|")
    for name in given.model or (SMALL if given.small else MODELS):
        found = measured_apart(name)
        cells = [EVERY[name][0], found["engine"]]
        for part in ("fit", "all"):
            predicted, measured = found[f"predicted_{part}"], found[part]
            good = within(predicted, measured)
            right &= good
            off = 100.0 * (predicted / measured - 1.0)
            cells += [
                f"{predicted / 1e6:,.0f} MB",
                f"{measured / 1e6:,.0f} MB ({off:+.0f} %{'' if good else ', WRONG'})",
            ]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
