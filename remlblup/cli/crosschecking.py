"""``remlblup crosscheck`` and ``remlblup write``: other programs' results judged, models written for them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from remlblup.errors import ConvergenceWarning, OptionError, said_elsewhere


@said_elsewhere(ConvergenceWarning)
def crosscheck(given: Namespace) -> int:
    """``remlblup crosscheck``: fit, judge, print, write."""
    from remlblup.cli.commands import read_model
    from remlblup.crosschecking.judge.crosscheck import crosscheck as judge
    from remlblup.crosschecking.readers.read import read_results

    match = pairs(given.match)
    files = given.other[0] if len(given.other) == 1 else given.other
    results = read_results(files, given.program)  # before the time of a fit is spent
    fit = read_model(given).fit(method=given.method, progress=False)
    check = judge(fit, results, match=match, reasons=not given.no_reasons, pairs=given.pairs or None)
    print(check)
    if given.report is not None:
        print(f"\nWritten to {check.report(given.report)}")
    return 0 if check.verdict.startswith(("they agree", "they differ by less")) else 1


def write(given: Namespace) -> int:
    """``remlblup write``: the model as input for another program."""
    from remlblup.cli.commands import read_model
    from remlblup.crosschecking.writers.write import NOTES, write_model

    folder = write_model(read_model(given), given.program, given.out)
    names = sorted(path.name for path in folder.iterdir() if path.name != NOTES)
    print(f"{(folder / NOTES).read_text(encoding='utf-8')}\nWritten to {folder}: {', '.join(names)}")
    return 0


def pairs(items: Sequence[str] | None) -> dict[str, str] | None:
    """Their term → ours, of ``theirs=ours``."""
    if items is None:
        return None
    out = {}
    for item in items:
        theirs, sign, ours = item.partition("=")
        if not sign or not theirs.strip() or not ours.strip():
            raise OptionError(f"--match {item!r} must be written THEIRS=OURS, such as 'effect 2=mother'.")
        out[theirs.strip()] = ours.strip()
    return out
