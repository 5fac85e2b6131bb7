"""The command: ``python -m remlblup.validation.saving [--damage N] [--kills N]``."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

import remlblup as rb
from remlblup.validation.saving.damage import damage, killed_while_saving, outcome, small_fit, state


def main() -> int:
    """Damage, kill, count; 1 if anything was lost or taken for what it is not."""
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.saving", description=main.__doc__)
    parser.add_argument("--damage", type=int, default=500, metavar="N", help="folders to damage (default 500)")
    parser.add_argument(
        "--kills", type=int, default=20, metavar="N", help="processes to kill while saving (default 20)"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wrong = [*damaged(Path(name), given.damage), *killed(Path(name), given.kills)]
    for line in wrong:
        print(line)
    print("all well" if not wrong else f"{len(wrong)} WRONG")
    return 1 if wrong else 0


def damaged(folder: Path, seeds: int) -> list[str]:
    """What went wrong in `seeds` damaged copies of a saved fit."""
    small_fit(2).save(folder / "one")
    small_fit(3).save(folder / "two")
    expected, wrong = state(rb.load(folder / "one")), []
    seen: Counter[tuple[str, str]] = Counter()
    for seed in range(seeds):
        copy = shutil.copytree(folder / "one", folder / "copy")
        how = damage(copy, folder / "two", np.random.default_rng(seed))
        got = outcome(copy, expected)
        seen[how.split(": ")[1], got] += 1
        if got not in ("same", "refused"):
            wrong.append(f"seed {seed}: {how}: {got}")
        shutil.rmtree(copy)
    for (way, got), count in sorted(seen.items()):
        print(f"{way:<24} {got:<12} {count:4d}")
    return wrong


def killed(folder: Path, kills: int) -> list[str]:
    """What is wrong with the folder after each of so many kills at random moments of saving."""
    one, two = small_fit(2), small_fit(3)
    either = {state(rb.load(fit.save(folder / name))) for fit, name in ((one, "k1"), (two, "k2"))}
    delays = np.random.default_rng(8).uniform(0.0, 0.5, kills)
    found = killed_while_saving(folder / "k1", delays.tolist())
    print(f"{'killed while saving':<24} {'whole':<12} {sum(f in either for f in found):4d}")
    return [f"killed after {d:.3f} s: another fit" for d, f in zip(delays, found, strict=True) if f not in either]


if __name__ == "__main__":
    sys.exit(main())
