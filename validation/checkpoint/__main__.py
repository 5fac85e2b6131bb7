"""The command: ``python -m remlblup.validation.checkpoint [--animals N] [--kills N]``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from remlblup.validation.checkpoint.kills import killed_while_fitting, write_inputs


def main() -> int:
    """Kill a fit at random moments, resume it each time; 1 if anything was lost or the end is another."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.checkpoint", description=main.__doc__)
    parser.add_argument("--animals", type=int, default=200_000, metavar="N", help="of the simulated flock (200000)")
    parser.add_argument("--years", type=int, default=8, metavar="N", help="over which it breeds (8)")
    parser.add_argument("--kills", type=int, default=20, metavar="N", help="processes to kill while they fit (20)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the moments (1)")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), given.animals, given.years)
        _, tally = killed_while_fitting(Path(name), given.kills, given.seed)
    ends = ", ".join(map(str, tally.finished))
    print(
        f"{len(tally.rows)} kills of a fit of {given.animals:,} animals; fits that ended, after so many kills each: "
        f"{ends}"
    )
    for line in tally.wrong:
        print(line)
    print("nothing lost, every end the same to the last digit" if not tally.wrong else f"{len(tally.wrong)} WRONG")
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
