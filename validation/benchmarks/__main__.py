"""The command: ``python -m remlblup.validation.benchmarks``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from remlblup.validation.benchmarks import machine, table
from remlblup.validation.benchmarks.cases import CASES, TRIALS
from remlblup.validation.benchmarks.outcome import Outcome
from remlblup.validation.benchmarks.page import page as page_of
from remlblup.validation.benchmarks.registry import PEERS, find_case, find_peer
from remlblup.validation.benchmarks.runner import REFERENCE, Left, Settings, run_case


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its table.

    Returns
    -------
    int
        0; 1 if remlblup itself failed or did not converge in any case; 2 if the options cannot be used.
    """
    options = _parser().parse_args(argv)
    cases, peers = options.case or list(CASES), options.peer or list(PEERS)
    wrong = [*_unknown(cases, find_case), *_unknown(peers, find_peer)]
    if wrong or options.repeats < 0 or options.time_limit <= 0:
        print("\n".join(wrong) or "--repeats must be at least 0 and --time-limit above 0.")
        return 2
    if options.list:
        _print_list()
        return 0
    settings = Settings(options.repeats, options.time_limit, options.cold)
    return run(cases, peers, settings, options.out, options.page, options.skip)


def run(
    cases: Iterable[str],
    peers: Sequence[str],
    settings: Settings,
    out: str | None = None,
    page: str | None = None,
    skip: Sequence[str] = (),
) -> int:
    """All cases, a row at a time."""
    facts = [
        *machine.facts(),
        "programs: " + "; ".join(f"{n} {_version(n)}" for n in (REFERENCE, *_others(peers))),
        f"time limit: {settings.time_limit:g} s for a program and case",
    ]
    _print_settings(facts, settings)
    print(table.header())
    rows: list[tuple[Outcome | Left, Outcome | None]] = []
    sound = True
    for case in cases:
        reference, left = None, []
        for item in run_case(case, [peer for peer in peers if f"{case}:{peer}" not in skip], settings):
            if isinstance(item, Left):
                left.append(item)
            else:
                reference = item if item.peer == REFERENCE else reference
                print(table.line(item, reference), flush=True)
            rows.append((item, reference))
        for text in table.left_lines(case, left):
            print(text, flush=True)
        if reference is not None:
            sound = sound and reference.answer.get("converged") is True
        if out:
            table.write_csv(out, rows)  # after every case: a long run may be interrupted
    if page:
        Path(page).write_text(page_of([item for item, _ in rows], facts), encoding="utf-8")
    for written in filter(None, (out, page)):
        print(f"Written to {written}.")
    return 0 if sound else 1


def _print_settings(facts: Sequence[str], settings: Settings) -> None:
    for text in facts:
        print(text)
    compiled = "compiled anew" if settings.cold else "compiled or read from numba's cache"
    print(f"first: the first run in a new process (remlblup's functions {compiled}); seconds: the runs after")
    print(
        f"ratio: seconds / seconds of {REFERENCE}; above 1, {REFERENCE} is faster (on a row of cholmod: "
        "within the target)\n"
    )


def _others(peers: Sequence[str]) -> list[str]:
    return [name for name in peers if name != REFERENCE]


def _version(name: str) -> str:
    found = find_peer(name).available()
    return found.version or f"- ({found.reason})"


def _print_list() -> None:
    print("Cases")
    for case in [*CASES.values(), *TRIALS.values()]:
        missing = case.missing()
        print(f"  {case.name:<17} {case.what}: {case.model.formula}" + (f"  SKIP: {missing}" if missing else ""))
    print("Programs")
    for name in PEERS:
        print(f"  {name:<14} {_version(name):<22} {find_peer(name).does}")


def _unknown(names: Iterable[str], find: Callable[[str], object]) -> Iterable[str]:
    for name in names:
        try:
            find(name)
        except (LookupError, AttributeError) as error:
            yield f"{error} `--list` shows the names."


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m remlblup.validation.benchmarks", description=__doc__)
    parser.add_argument("--case", nargs="+", metavar="NAME", help="only these cases")
    parser.add_argument("--peer", nargs="+", metavar="NAME", help="only these programs beside remlblup")
    parser.add_argument("--skip", nargs="+", default=[], metavar="CASE:NAME", help="but not these on these cases")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="timed runs after the first (default 3)")
    parser.add_argument(
        "--time-limit",
        type=float,
        default=600.0,
        metavar="SECONDS",
        help="for one program on one case, import and data included (default 600)",
    )
    parser.add_argument("--cold", action="store_true", help="let remlblup compile its functions in every process")
    parser.add_argument("--list", action="store_true", help="list cases and programs, and stop")
    parser.add_argument("--out", metavar="FILE.csv", help="write the table, with the estimates, to a CSV file")
    parser.add_argument("--page", metavar="FILE.md", help="write the page of the documentation")
    return parser


if __name__ == "__main__":
    sys.exit(main())
