"""The command: ``python -m remlblup.validation.distributed [--kills N] [--drivers N]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from remlblup.validation.distributed.kills import drivers_killed, workers_killed, write_inputs


def main() -> int:
    """Kill workers in products and drivers in fits; 1 if a digit is another or anything hangs."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.distributed", description=main.__doc__)
    parser.add_argument("--individuals", type=int, default=2000, metavar="N", help="with genotypes (2000)")
    parser.add_argument("--markers", type=int, default=8000, metavar="N", help="of each (8000)")
    parser.add_argument("--kills", type=int, default=12, metavar="N", help="products in which workers are killed (12)")
    parser.add_argument("--drivers", type=int, default=4, metavar="N", help="drivers to kill while they fit (4)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments (1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), given.individuals, given.markers)
        wrong = workers_killed(Path(name), given.kills, given.seed)
        wrong += drivers_killed(Path(name), given.drivers, given.seed)
    for line in wrong:
        print(line)
    print(f"{len(wrong)} WRONG" if wrong else "nothing lost, every digit the same")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
