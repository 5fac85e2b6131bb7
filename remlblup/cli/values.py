"""Arguments of the form NAME=VALUE."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from remlblup.errors import OptionError


def outside(text: str, character: str) -> list[int]:
    """Positions of a character outside all brackets and `backticks`."""
    depth, found, quoted = 0, [], False
    for k, c in enumerate(text):
        quoted ^= c == "`"
        if quoted:
            continue
        depth += (c in "([{") - (c in ")]}")
        if c == character and depth == 0:
            found.append(k)
    return found


def variances(option: str, items: Iterable[str] | None) -> dict[str, object] | None:
    """term → number, matrix or mapping of parameter names, from ``term=value`` texts.

    A term is cut off at the last ``=`` outside brackets; naming a term twice adds named parameters.

    Raises
    ------
    OptionError
        If a text cannot be read.
    """
    if items is None:
        return None
    out: dict[str, object] = {}
    for item in items:
        cuts = outside(item, "=")
        if not cuts or not item[: cuts[-1]].strip() or not item[cuts[-1] + 1 :].strip():
            raise OptionError(f"{option} {item!r} must be written TERM=VALUE, such as 'mother=1.5'.")
        term, value = item[: cuts[-1]].strip(), read_value(option, item, item[cuts[-1] + 1 :].strip())
        before = out.get(term)
        if isinstance(before, dict) and isinstance(value, dict):
            value = before | value
        elif before is not None:
            raise OptionError(f"{option} gives '{term}' twice.")
        out[term] = value
    return out


def read_value(option: str, item: str, text: str) -> object:
    """A number, a JSON matrix or object, or ``name:number, name:number``."""
    for reader in (json.loads, float):
        try:
            return reader(text)
        except ValueError:
            continue
    parts = [text[a:b] for a, b in _pieces(text)]
    named = [(p[: c[-1]].strip(), p[c[-1] + 1 :].strip()) for p in parts if (c := outside(p, ":"))]
    try:
        if len(named) < len(parts):
            raise ValueError
        return {name: float(number) for name, number in named}
    except ValueError:
        raise OptionError(
            f"{option} {item!r}: cannot read {text!r}. Write a number, a matrix [[a, b], [b, c]],"
            " or named parameters such as 'var(Intercept):612, var(Days):35'."
        ) from None


def _pieces(text: str) -> list[tuple[int, int]]:
    """Where the parts between top-level commas begin and end."""
    commas = outside(text, ",")
    return list(zip([0, *(k + 1 for k in commas)], [*commas, len(text)], strict=True))


def named_files(option: str, items: Iterable[str] | None) -> dict[str, str]:
    """NAME → FILE, from ``NAME=FILE`` texts."""
    out: dict[str, str] = {}
    for item in items or ():
        name, equals, file = (part.strip() for part in item.partition("="))
        if not equals or not file or not re.fullmatch(r"[^\W\d]\w*", name):
            raise OptionError(
                f"{option} {item!r} must be written NAME=FILE, with the NAME that the formula uses: A=pedigree.csv."
            )
        if name in out:
            raise OptionError(f"{option} gives the name {name!r} twice.")
        out[name] = file
    return out


def named_expressions(items: Iterable[str] | None) -> dict[str, str]:
    """name → expression, from ``NAME=EXPR`` or ``EXPR`` (which is its own name)."""
    out = {}
    for item in items or ():
        cuts = outside(item, "=")
        name = item[: cuts[0]].strip() if cuts else item.strip()
        expression = item[cuts[0] + 1 :].strip() if cuts else item.strip()
        if not name or not expression:
            raise OptionError(f"--function {item!r} must be written EXPR or NAME=EXPR.")
        out[name] = expression
    return out
