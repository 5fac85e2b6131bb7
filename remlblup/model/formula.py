"""Reading a mixed-model formula: the random terms are read here, the fixed part by `algebra`.

``"y ~ x + (1 + x | g) + us(site | vm(animal, A))"`` becomes the response ``y``, the fixed
formula ``1 + x`` and a `RandomTerm` for each bar.
"""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from functools import lru_cache

from remlblup.errors import FormulaError, some
from remlblup.model import functions as table
from remlblup.model.groups import has_bracket, of_effects, read_groups
from remlblup.model.other_words import WORDS, ours
from remlblup.model.scanner import call, signed_pieces, split_top, squeeze, top_characters, unquoted, variable
from remlblup.model.terms import Group, MixedFormula, Options, RandomTerm, SmoothTerm
from remlblup.structure.table import DISTANCES, STRUCTURES

__all__ = ["Group", "MixedFormula", "RandomTerm", "SmoothTerm", "parse_formula", "squeeze"]

# Smooth terms: how many covariates each takes, as written.
SMOOTHS = {"spl": ("spl(x)", 1), "pspline": ("pspline(row, col)", 2)}
SMOOTH_OPTIONS = ("knots",)


def parse_formula(text: str) -> MixedFormula:
    """Split a mixed-model formula into response, fixed part and random terms.

    Raises
    ------
    FormulaError
        If a bracket is not closed, a bar is malformed, a structure is unknown, or a term is
        given twice.
    """
    if not isinstance(text, str):
        raise FormulaError(f"the formula must be text like 'y ~ x + (1 | g)', not {type(text).__name__}.")
    return _parsed(text, tuple(STRUCTURES.values()))


@lru_cache(maxsize=256)
def _parsed(text: str, known: tuple[type, ...]) -> MixedFormula:
    """The same, read once for the structures `known` at the time."""
    sides = split_top(text, "~")
    if len(sides) != 2 or not sides[0].strip():
        raise FormulaError(f"the formula {text!r} needs one response and one '~', as in 'y ~ x + (1 | g)'.")
    response, right = sides[0].strip(), sides[1]
    fixed: list[str] = []
    offset: list[str] = []
    random: list[RandomTerm | SmoothTerm] = []
    for sign, piece in signed_pieces(right):
        if (parts := call(piece)) is not None and parts[0] == "offset":
            offset.append(read_offset(piece, sign, parts[1]))
            continue
        terms = read_term(piece)
        if terms is None:
            fixed.append(f"{sign} {piece}")
        elif sign == "-":
            raise FormulaError(f"a random term cannot be subtracted: remove '- {piece}' from the formula.")
        else:
            random.extend(terms)
    names = [term.key for term in random]
    if twice := {n for n in names if names.count(n) > 1}:
        raise FormulaError(f"the random term {some(sorted(twice))} is given more than once: keep one of them.")
    fixed_text = " ".join(fixed).strip().removeprefix("+").strip() or "1"
    return MixedFormula(
        text.strip(), response, fixed_text + plane(random), tuple(random), read_responses(response), tuple(offset)
    )


def read_offset(piece: str, sign: str, inside: str) -> str:
    """The expression of ``offset(x)``."""
    if sign == "-" or not inside or len(split_top(inside, ",")) > 1:
        raise FormulaError(f"'{sign} {piece}': an offset is one expression and is added, as in '+ offset(-x)'.")
    return inside


def plane(random: list[RandomTerm | SmoothTerm]) -> str:
    """The fixed part of every P-spline surface: its plane and twist, ``row + col + row:col``."""
    text = ""
    for term in random:
        if isinstance(term, SmoothTerm) and term.function == "pspline":
            u, v = (name if re.fullmatch(r"[^\W\d]\w*", name) else f"`{name}`" for name in term.variables)
            text += f" + {u} + {v} + {u}:{v}"
    return text


def read_responses(response: str) -> tuple[str, ...]:
    """The responses of ``c(y1, y2)``, in R's spelling ``cbind(y1, y2)``; none for a single response."""
    parts = call(response)
    if parts is None or parts[0] not in ("c", "cbind"):
        return ()
    texts = [text.strip() for text in split_top(parts[1], ",")]
    if len(texts) < 2 or not all(texts):
        raise FormulaError(f"'{response}' must hold two responses or more, as in 'c(y1, y2) ~ …'; or write 'y ~ …'.")
    names = tuple(map(unquoted, texts))
    if len(set(names)) < len(names):
        raise FormulaError(f"'{response}' holds a response twice: keep it once.")
    return names


def read_term(piece: str) -> list[RandomTerm | SmoothTerm] | None:
    """The random term(s) of one summand; None if it belongs to the fixed part."""
    parts = call(piece)
    if parts is None:
        if "|" in top_characters(piece):
            raise FormulaError(f"put brackets around the random term: '({piece})'.")
        return None
    keyword, inside = parts
    if "|" in top_characters(inside):
        return list(read_bar(piece, keyword, inside))
    if not keyword:  # brackets around a bar: (us(x | g))
        return read_term(inside) if inside and len(signed_pieces(inside)) == 1 else None
    if keyword in SMOOTHS:
        return [read_smooth(piece, keyword, inside)]
    if keyword == "vm":
        whole = piece if len(split_top(inside, ",")) > 1 else f"vm({inside}, NAME)"
        more = "" if whole == piece else ", with NAME a key of relationships="
        raise FormulaError(f"'{piece}' is a group of levels: write the random term as '(1 | {whole})'{more}.")
    structure = keyword in STRUCTURES and keyword not in table.TRANSFORMS and keyword not in table.ELEMENTWISE
    if "vm(" in squeeze(inside) or (structure and has_bracket(split_top(inside, ",")[0])):
        return [read_by_factor(piece, keyword, inside)]
    if keyword in DISTANCES and len(split_top(inside, ",")) > 1:
        columns, options = options_apart(inside)
        raise FormulaError(
            f"'{piece}': random effects of places need a bar, '{keyword}({columns} | {', '.join(['1', *options])})', or"
            " '| trial' for those of each trial; correlated errors are residual=."
        )
    if structure:
        also = f"; {WORDS[keyword]}" if keyword in WORDS else ""
        raise FormulaError(
            f"'{piece}' needs a bar: write '{keyword}(effects | group)', as in '{keyword}(site | g)'{also}."
        )
    return None


def read_bar(piece: str, keyword: str, inside: str) -> list[RandomTerm]:
    """``structure(effects | group, option=value)``; ``(… | a/b)`` is two terms."""
    sides = split_top(inside, "|")
    independent = len(sides) == 3 and sides[1] == ""
    if independent:
        del sides[1]
    if len(sides) != 2 or not all(side.strip() for side in sides):
        raise FormulaError(
            f"'{piece}' is not a random term: write '(effects | group)' with one bar, as in '(1 + x | g)'."
        )
    effects, (group_text, *option_texts) = sides[0].strip(), split_top(sides[1], ",")
    if keyword and independent:
        raise FormulaError(f"'{piece}' names a structure and uses '||': use one of the two.")
    columns, misplaced = options_apart(effects)
    if keyword and misplaced:
        behind = ", ".join([sides[1].strip(), *misplaced])
        raise FormulaError(f"'{piece}': options stand behind the group: '{keyword}({columns} | {behind})'.")
    coordinates = read_coordinates(effects, piece) if keyword in DISTANCES else ()
    options = read_options(piece, keyword, option_texts, bool(coordinates))
    whole = keyword in DISTANCES and group_text.strip() == "1"
    groups = [[Group(())]] if whole else read_groups(group_text.strip(), piece)
    simple = not keyword and squeeze(effects) == "1"
    structure = keyword or ("id" if simple else "diag" if independent else "us")
    if len(groups) > 1:  # nested: a/b
        head, tail = inside[: inside.rindex("|") + 1] + " ", "".join(f", {o.strip()}" for o in option_texts)
        names = [_named(g[0].label if simple else head + g[0].label + tail, keyword) for g in groups]
    else:
        names = [_named(group_text.strip() if simple else inside, keyword)]
    short = _named(f"{effects} | {group_text.strip()}", keyword) if options else ""
    if coordinates:
        effects = " + ".join(name.strip() for name in split_top(effects, ","))
    return [
        RandomTerm(name, effects, first, structure, bool(keyword), options, tuple(more), short, coordinates)
        for name, (first, *more) in zip(names, groups, strict=True)
    ]


def options_apart(effects: str) -> tuple[str, list[str]]:
    """What stands in front of a bar without ``name=value``, and these."""
    texts = [text.strip() for text in split_top(effects, ",")]
    options = [text for text in texts if re.match(r"\w+\s*=[^=]", text)]
    return ", ".join(text for text in texts if text not in options), options


def read_coordinates(effects: str, piece: str) -> tuple[str, ...]:
    """The columns of ``exp(x, y | g)``; none of one covariate, whose levels are the effects."""
    names = tuple(variable(name, piece) for name in split_top(effects, ","))
    if len(set(names)) < len(names):
        raise FormulaError(f"'{piece}' gives a coordinate twice: they must differ.")
    return names if len(names) > 1 else ()


def _named(inside: str, keyword: str) -> str:
    return f"{keyword}({inside})" if keyword else inside


def read_by_factor(piece: str, keyword: str, inside: str) -> RandomTerm:
    """``us(vm(animal, A) + vm(dam, A))``: an effect per factor, or bracket of several, over the levels they share."""
    group_text, *option_texts = split_top(inside, ",")
    if any("vm(" in squeeze(text) for text in option_texts):
        raise FormulaError(
            f"'{piece}': effects are added up, and a bracket holds several columns of one effect, as in"
            f" '{keyword}(vm(tree, A) + (vm(n1, A) + vm(n2, A)))'."
        )
    options = read_options(piece, keyword, option_texts)
    groups = of_effects(group_text, piece)
    term = RandomTerm(_named(inside, keyword), "", groups[0], keyword, True, options, tuple(groups[1:]))
    names = term.effect_names
    if len(names) < 2 or len(set(names)) < len(names):
        raise FormulaError(
            f"'{piece}' correlates the effects of several factors: give two or more that differ, as in"
            f" '{keyword}(vm(animal, A) + vm(dam, A))'; for one factor write '(1 | vm(animal, A))'."
        )
    short = _named(group_text.strip(), keyword) if options else ""
    return replace(term, short=short)


def read_smooth(piece: str, function: str, inside: str) -> SmoothTerm:
    """``spl(x, knots=20)`` or ``pspline(row, col, knots=(10, 10))``."""
    arguments = [a.strip() for a in split_top(inside, ",") if a.strip()]
    names = [a for a in arguments if "=" not in top_characters(a)]
    example, wanted = SMOOTHS[function]
    if len(names) != wanted:
        raise FormulaError(f"'{piece}' takes {wanted} covariate(s), as in '{example}', not {len(names)}.")
    options = read_values(piece, [a for a in arguments if a not in names], SMOOTH_OPTIONS, function)
    return SmoothTerm(piece, function, tuple(variable(n, piece) for n in names), options)


def read_options(piece: str, keyword: str, texts: list[str], of_places: bool = False) -> Options:
    """The options of a structure, ``k=2``, checked against what it takes; `of_places` of one over coordinates."""
    if keyword and keyword not in STRUCTURES and (keyword in table.TRANSFORMS or keyword in table.ELEMENTWISE):
        raise FormulaError(
            f"'{piece}': '|' has no meaning inside {keyword}(): add conditions up, (a > 1) + (b > 1) > 0."
        )
    if keyword and keyword not in STRUCTURES:
        advice = f": {own}. Known" if (own := ours(keyword)) else ". Known"
        raise FormulaError(
            f"the covariance structure '{keyword}' in '{piece}' is not known{advice}: {', '.join(sorted(STRUCTURES))}."
        )
    if texts and not keyword:
        raise FormulaError(f"'{piece}': the option '{texts[0].strip()}' needs a structure, as in 'fa(site | g, k=2)'.")
    cls = DISTANCES[keyword] if of_places else STRUCTURES.get(keyword)
    return read_values(piece, texts, getattr(cls, "options", ()), keyword)


def read_values(piece: str, texts: list[str], allowed: tuple[str, ...], keyword: str) -> Options:
    """``name=value`` texts as (name, value); a value is a number, a tuple, or the name of something given."""
    options: list[tuple[str, object]] = []
    for text in texts:
        name, sign, value = (part.strip() for part in text.partition("="))
        if not sign or not name or not value:
            raise FormulaError(f"'{text.strip()}' in '{piece}' is not an option: write name=value, as in 'k=2'.")
        if name not in allowed:
            takes = f"It takes: {', '.join(allowed)}." if allowed else "It takes no options."
            raise FormulaError(f"'{keyword}' has no option '{name}' ('{piece}'). {takes}")
        if name in dict(options):
            raise FormulaError(f"'{piece}' gives the option '{name}' twice.")
        options.append((name, _value(value, piece)))
    return tuple(options)


def _value(text: str, piece: str) -> object:
    if re.fullmatch(r"[^\W\d][\w.]*", text) and text not in ("True", "False", "None"):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        raise FormulaError(f"the value '{text}' in '{piece}' must be a number or a name.") from None
