"""Which cases are asked for: by name, by group, by the other program."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from remlblup.errors import some
from remlblup.validation.cases import Case

#: What a regular expression has and a shell pattern has not.
_REGULAR = re.compile(r"[$^|+\\]|\.[*?]")
#: So many names are suggested for one that is none.
SUGGESTED = 5


def matches(name: str, pattern: str) -> bool:
    """Whether a name is a part of, a shell pattern for, or a regular expression found in it; capitals do not matter."""
    name, pattern = name.lower(), pattern.lower()
    if pattern in name or fnmatchcase(name, pattern):
        return True
    if not _REGULAR.search(pattern):  # 'a.o*' is a shell pattern, which as an expression would match 'a.two'
        return False
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return False


def chosen(cases: Sequence[Case], names: Iterable[str], programs: Iterable[str]) -> list[Case]:
    """The cases that match any of the names, and any of the programs; without any, all."""
    names, programs = list(names), list(programs)
    return [
        c
        for c in cases
        if (not names or any(matches(c.name, p) for p in names))
        and (not programs or any(matches(c.source, p) for p in programs))
    ]


def unmatched(cases: Sequence[Case], names: Iterable[str], programs: Iterable[str]) -> list[str]:
    """A line for every pattern that no case matches, with what was perhaps meant."""
    lines = []
    for option, patterns, known in (
        ("case", names, [c.name for c in cases]),
        ("program", programs, [c.source for c in cases]),
    ):
        for pattern in patterns:
            if not any(matches(name, pattern) for name in known):
                lines.append(f"No {option} matches '{pattern}'.{_meant(pattern, known)}")
    return lines


def _meant(pattern: str, known: Iterable[str]) -> str:
    """The nearest names, or parts of names."""
    whole = list(dict.fromkeys(known))
    parts = {part.lower(): part for name in whole for part in (name, *re.split(r"[/. ,()]+", name)) if part}
    near = difflib.get_close_matches(pattern.lower(), list(parts), n=SUGGESTED, cutoff=0.6)
    return f" Did you mean {some([parts[n] for n in near])}?" if near else ""
