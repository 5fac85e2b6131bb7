"""Reading ``residual=``: the text becomes a `ResidualTerm`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from remlblup.errors import OptionError, check_switch
from remlblup.model.formula import read_options, read_values
from remlblup.model.grouping import UNITS
from remlblup.model.groups import read_group
from remlblup.model.other_words import ours_of_residual
from remlblup.model.scanner import call, signed_pieces, split_top, squeeze, top_characters, variable
from remlblup.model.terms import Group, Options
from remlblup.structure.table import DISTANCES, STRUCTURES

FIELD_KINDS = ("ar1", "id")
# Residuals that known weights go with: independent records.
WEIGHTED = ("units", "diag", "power")
RECORD = Group((UNITS,))
# The keyword of a covariance matrix of all records that is given, without a bar.
KNOWN = "known records"
EXAMPLES = (
    "'units', 'diag(site | units)', 'us(trait | units)', 'ar1(time | subject)', 'exp(x | subject)',"
    " 'power(x)', 'ar1(row):ar1(col)', 'ar1(row):ar1(col) + units', 'ar1(row):ar1(col) | trial',"
    " 'exp(x, y) + units', 'sph(x, y | trial)', 'known(O)'"
)


@dataclass(frozen=True)
class ResidualTerm:
    """What ``residual=`` says.

    Attributes
    ----------
    text : as the user wrote it
    keyword : "units", "power", "field", "known records", or the keyword of a structure
    effect : the variable in front of the bar, the covariate of power(x), or the variances of known(v)
    unit : the group behind the bar
    axes : (kind, variable) of each dimension of a field
    options : options of the structure
    section : the factor behind a bar of its own: one structure for each of its levels
    plus_units : whether an independent effect of every record is added
    coordinates : columns that say where the records lie, of ``exp(x, y)``
    """

    text: str
    keyword: str
    effect: str = ""
    unit: Group = RECORD
    axes: tuple[tuple[str, str], ...] = ()
    options: Options = ()
    section: str = ""
    plus_units: bool = False
    coordinates: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The data columns it needs; `units` is the record itself."""
        names = [self.effect, *(f for f in self.unit.factors if f != UNITS), *(v for _, v in self.axes), self.section]
        names += self.coordinates
        return [name for name in names if name]

    @property
    def numbers(self) -> tuple[str, ...]:
        """Those that hold numbers: coordinates, the covariate of power(x), the variances of known(v)."""
        return (*self.coordinates, *((self.effect,) if self.keyword in ("power", KNOWN) else ()))


def parse_residual(text: object) -> ResidualTerm:
    """Read the text of ``residual=``.

    Raises
    ------
    OptionError, FormulaError
        If a keyword is unknown or the text is malformed.
    """
    if not isinstance(text, str) or not text.strip():
        raise OptionError(f"residual= takes a text such as {EXAMPLES}; not {text!r}.")
    return _parsed(text, tuple(STRUCTURES.values()))


@lru_cache(maxsize=64)
def _parsed(text: str, known: tuple[type, ...]) -> ResidualTerm:
    """The same, read once for the structures `known` at the time."""
    pieces = signed_pieces(text)
    if any(sign == "-" for sign, _ in pieces):
        raise OptionError(f"residual={text!r}: nothing can be subtracted.")
    names = [piece for _, piece in pieces]
    if len(names) > 1 and squeeze(names[-1]).startswith("units|"):
        section = names[-1].partition("|")[2].strip()
        raise OptionError(
            f"residual={text!r}: write the factor of the sections before '+ units', as in"
            f" '{names[0]} | {section} + units'."
        )
    added = [name for name in names if squeeze(name) == UNITS] if len(names) > 1 else []
    structures = [name for name in names if name not in added]
    if len(structures) != 1 or len(added) > 1:
        raise OptionError(f"residual={text!r} must be one structure, to which '+ units' may be added once: {EXAMPLES}.")
    term = _read_sectioned(structures[0], text.strip())
    if added and term.keyword in WEIGHTED:
        raise OptionError(
            f"residual={text!r}: '+ units' adds independent errors to errors that are independent: leave it out."
        )
    return replace(term, plus_units=bool(added))


def _read_sectioned(piece: str, text: str) -> ResidualTerm:
    sides = [side.strip() for side in split_top(piece, "|")]
    term = _read_structure(sides[0], text)
    if len(sides) == 1:
        return term
    if len(sides) > 2 or not sides[1]:
        raise OptionError(f"residual={text!r}: one factor stands behind the bar, as in 'ar1(row):ar1(col) | trial'.")
    section = variable(sides[1], text)
    if term.keyword == KNOWN:
        raise OptionError(
            f"residual={text!r}: a known matrix is one over all records; without a covariance between the sections it"
            " is zero there. Leave out the bar."
        )
    if term.keyword in WEIGHTED[:2]:
        raise OptionError(
            f"residual={text!r}: for a variance of its own in each '{section}' write 'diag({section} | units)'."
        )
    return replace(term, section=section)


def _read_structure(piece: str, text: str) -> ResidualTerm:
    if squeeze(piece) == UNITS:
        return ResidualTerm(text, UNITS)
    dimensions = [call(part) for part in split_top(piece, ":")]
    if any(d is None or not d[0] for d in dimensions):
        raise OptionError(f"residual={text!r} is not known{crossed(piece)}. Write one of: {EXAMPLES}.")
    known = [d for d in dimensions if d is not None]
    keyword, inside = known[0]
    if len(known) > 1 or (keyword in FIELD_KINDS and "|" not in top_characters(inside)):
        return _read_field(known, text)
    if keyword == "power":
        return ResidualTerm(text, "power", variable(inside, text))
    if keyword == "known" and "|" not in top_characters(inside):
        return _read_known(piece, inside, text)
    if keyword in DISTANCES and (term := _read_places(keyword, inside, piece, text)) is not None:
        return term
    if keyword not in STRUCTURES:
        words = sorted({*STRUCTURES, UNITS, "power"})
        raise OptionError(
            f"residual={text!r}: '{keyword}' is not known{instead(keyword)}. Known: {', '.join(words)}."
            f" Examples: {EXAMPLES}."
        )
    sides = split_top(inside, "|")
    if len(sides) != 2 or not all(side.strip() for side in sides):
        raise OptionError(
            f"residual={text!r}: write '{keyword}(effect | unit)' with one bar, as in '{keyword}(time | subject)'"
            f" or '{keyword}(trait | units)'."
        )
    unit, *options = split_top(sides[1], ",")
    group = read_group(unit.strip())
    if group.related:
        raise OptionError(f"residual={text!r}: units are independent; a relationship belongs to a random term.")
    return ResidualTerm(text, keyword, variable(sides[0], text), group, options=read_options(piece, keyword, options))


def instead(*keywords: str) -> str:
    """What to write for words of other programs; empty for others."""
    found = ((word, ours_of_residual(word)) for word in dict.fromkeys(keywords))
    return "".join(f"; for {word}() {advice}" for word, advice in found if advice)


def crossed(piece: str) -> str:
    """What to write for ``us(trait):units``, ``idh(site):units``, ``nugget``."""
    parts = [part.strip() for part in split_top(piece, ":")]
    calls = [(part, *own) for part in parts if (own := call(part)) is not None and own[0]]
    others = [part for part in parts if part not in [c[0] for c in calls]]
    if len(parts) == 2 and len(calls) == 1 and calls[0][1] in STRUCTURES:
        return f": write '{calls[0][1]}({calls[0][2]} | {others[0]})'"
    return instead(*(c[1] for c in calls), *others)


def _read_known(piece: str, inside: str, text: str) -> ResidualTerm:
    """``known(O)``, ``known(plot, O)``, ``known(v)``; with ``scale=True`` times a variance to estimate."""
    names = [part.strip() for part in split_top(inside, ",")]
    options = dict(read_values(piece, [part for part in names if "=" in part], ("scale",), "known"))
    names = [part for part in names if "=" not in part]
    check_switch("scale", options.get("scale", False))
    if not 1 <= len(names) <= 2 or not all(names):
        raise OptionError(
            f"residual={text!r}: write known(O) with the covariance matrix of the records in relationships={{'O': …}},"
            " known(plot, O) where a column of the data has their labels, or known(v) with a column of variances."
        )
    *labels, name = (variable(part, text) for part in names)
    unit = Group((labels[0],)) if labels else RECORD
    return ResidualTerm(text, KNOWN, unit=unit, options=(("of", name), *options.items()))


def _read_places(keyword: str, inside: str, piece: str, text: str) -> ResidualTerm | None:
    """``exp(x, y)``, ``sph(x, y | trial, metric=each)``, ``mat(x, nu=1.5)``; None of ``exp(x | subject)``, a chain."""
    sides = split_top(inside, "|")
    arguments = [a.strip() for a in split_top(sides[0], ",")]
    names = [a for a in arguments if "=" not in top_characters(a)]
    options = arguments[len(names) :]
    if len(sides) > 2 or not all(arguments) or any("=" in top_characters(a) for a in arguments[: len(names)]):
        raise OptionError(f"residual={text!r}: write '{keyword}(x, y)' or '{keyword}(x, y | trial)'.")
    coordinates = tuple(variable(name, text) for name in names)
    if len(set(coordinates)) < len(coordinates) or not coordinates:
        raise OptionError(f"residual={text!r}: give coordinates that differ, as in '{keyword}(x, y)'.")
    unit = Group(())
    if len(sides) == 2:
        group, *behind = [a.strip() for a in split_top(sides[1], ",")]
        options += behind
        if keyword == "exp" and len(coordinates) == 1 and group != "1":
            return None
        unit = Group(()) if group == "1" else read_group(group)
        if unit.relationship:
            raise OptionError(f"residual={text!r}: units are independent; a relationship belongs to a random term.")
    read = read_options(piece, keyword, options, of_places=True)
    return ResidualTerm(text, keyword, unit=unit, options=read, coordinates=coordinates)


def _read_field(dimensions: Sequence[tuple[str, str]], text: str) -> ResidualTerm:
    """``ar1(row):ar1(col)``, ``id(row):ar1(col)``, ``ar1(row)``."""
    unknown = [kind for kind, _ in dimensions if kind not in FIELD_KINDS]
    if unknown or len(dimensions) > 2:
        raise OptionError(
            f"residual={text!r}: a field has one or two dimensions, each ar1(position) or id(position), as in"
            f" 'ar1(row):ar1(col)'; for times within subjects write 'ar1(time | subject)'{instead(*unknown)}."
        )
    if all(kind == "id" for kind, _ in dimensions):
        raise OptionError(f"residual={text!r}: no dimension is correlated; write 'units'.")
    axes = tuple((kind, variable(inside, text)) for kind, inside in dimensions)
    if len({name for _, name in axes}) < len(axes):
        raise OptionError(f"residual={text!r}: both dimensions are '{axes[0][1]}'; they must differ.")
    return ResidualTerm(text, "field", axes=axes)
