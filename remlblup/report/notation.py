"""The model of a fit in mathematical notation: the equation, the distributions, the structures with their estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import count
from remlblup.model.grouping import UNITS
from remlblup.report.mathml import (
    Math,
    bold,
    display,
    fenced,
    inline,
    joined,
    name,
    number,
    op,
    over,
    row,
    squared,
    sub,
    sup,
    table,
    words,
)
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.exponential import Exponential
from remlblup.structure.residual.field import Field
from remlblup.structure.residual.grouped_units import GroupedUnits
from remlblup.structure.residual.known_residual import KnownResidual
from remlblup.structure.residual.places import Places
from remlblup.structure.residual.sections import Sections
from remlblup.structure.residual.variance_power import Power

if TYPE_CHECKING:
    from remlblup.fit.estimates import Estimates
    from remlblup.model.design import RandomDesign
    from remlblup.structure.base import Structure
from remlblup.structure.distance.base import Distance
from remlblup.structure.residual.base import ResidualStructure

SHOWN = 4  # effects up to which the estimated matrix is written out
SIGMA, RHO, D, J = name("σ"), name("ρ"), bold("D"), bold("J")
IDENTITY = bold("I")


@dataclass(frozen=True)
class Notation:
    """Formulas, one a line, and what their symbols stand for.

    Attributes
    ----------
    formulas : MathML of each line
    symbols : (MathML, words) of each symbol
    """

    formulas: tuple[str, ...]
    symbols: tuple[tuple[str, str], ...]


def notation(fit: Estimates) -> Notation:
    """The model as it was fitted."""
    spec = fit.specification
    effects = [d for d in spec.random if not is_units(d)]
    several = len(effects) > 1
    formulas, symbols = [display(mean(fit, effects))], []
    symbols.append((inline(bold("y")), response(fit)))
    if spec.p:
        symbols.append((inline(bold("X"), bold("β")), f"fixed effects: {count(spec.p, 'coefficient')}"))
    for k, design in enumerate(effects):
        index = number(str(k + 1)) if several else ""
        u, S = indexed("u", index), indexed("Σ", index)
        formulas.append(display(normal(u, covariance(design, index))))
        if len(design.structure.effects) > 1:
            formulas.append(display(S, op("="), form_of(design.structure, index), *estimated(fit, design)))
        symbols.append((inline(indexed("Z", index), u), f"random effects of {design.name}: {size(design)}"))
        if not design.is_identity:
            symbols.append((inline(relation(design)), f"relationship of the {design.q:,} levels of {design.name}"))
    formulas.append(display(normal(bold("e"), residual(fit))))
    symbols.append((inline(bold("e")), f"residual, {spec.residual_text}"))
    return Notation(tuple(formulas), tuple(symbols))


def is_units(design: RandomDesign) -> bool:
    return design.term is not None and design.term.group.factors == (UNITS,) and design.t == 1


def indexed(letter: str, index: Math) -> Math:
    return sub(bold(letter), index) if index else bold(letter)


def response(fit: Estimates) -> str:
    spec = fit.specification
    if spec.responses:
        return f"{spec.n:,} values of {', '.join(spec.responses)}"
    less = " less its offset" if spec.offset is not None else ""
    return f"{spec.n:,} records of {spec.response}{less}"


def size(design: RandomDesign) -> str:
    levels = count(design.q, "level")
    if design.term is not None and design.term.coordinates:
        return f"{levels} × {design.t:,} places"
    effects = ", ".join(map(str, design.structure.effects[:6])) + (", …" if design.t > 6 else "")
    return levels + (f" × {design.t} effects ({effects})" if design.t > 1 else "")


def mean(fit: Estimates, effects: list[RandomDesign]) -> Math:
    """y = Xβ + Z₁u₁ + … + e."""
    parts = [row(bold("X"), bold("β"))] if fit.specification.p else []
    for k in range(len(effects)):
        index = number(str(k + 1)) if len(effects) > 1 else ""
        parts.append(row(indexed("Z", index), indexed("u", index)))
    return row(bold("y"), op("="), joined([*parts, bold("e")], "+"))


def normal(variable: Math, variance: Math) -> Math:
    return row(variable, op("∼"), name("N"), fenced(bold("0"), op(","), variance))


def covariance(design: RandomDesign, index: Math) -> Math:
    """Σ ⊗ K, or σ² K of one effect."""
    K = sub(IDENTITY, number(f"{design.q:,}")) if design.is_identity else relation(design)
    if len(design.structure.effects) > 1:
        return row(indexed("Σ", index), op("⊗"), K)
    return row(squared(SIGMA, index) if index else squared(SIGMA, name("u")), K)


def relation(design: RandomDesign) -> Math:
    """K by the name that the user gave it."""
    names = design.term.group.names if design.term is not None else ()
    if not any(names):
        return bold("K")
    return joined([bold(given) if given else IDENTITY for given in names], "⊗")


def form(keyword: str, index: Math) -> Math:
    """Σ as its structure makes it: D of standard deviations, R of correlations."""
    power = sup(RHO, row(op("|"), name("i"), op("−"), name("j"), op("|")))
    distance = sup(RHO, row(op("|"), sub(name("x"), name("i")), op("−"), sub(name("x"), name("j")), op("|")))
    even = row(fenced(number("1"), op("−"), RHO), IDENTITY, op("+"), RHO, J)
    lag = sub(RHO, row(op("|"), name("i"), op("−"), name("j"), op("|")))
    bracket = {"left": "[", "right": "]"}
    variance, loadings = sup(SIGMA, number("2")), row(bold("Γ"), sup(bold("Γ"), op("′")))
    forms = {
        "id": row(variance, IDENTITY),
        "diag": row(words("diag"), fenced(squared(SIGMA, number("1")), op(","), op("…"))),
        "us": fenced(sub(SIGMA, row(name("i"), name("j"))), **bracket),
        "cs": row(variance, fenced(even, **bracket)),
        "csh": row(D, fenced(even, **bracket), D),
        "ar1": row(variance, fenced(power, **bracket)),
        "ar1h": row(D, fenced(power, **bracket), D),
        "exp": row(variance, fenced(distance, **bracket)),
        "toep": row(variance, fenced(lag, **bracket)),
        "corg": row(variance, fenced(sub(RHO, row(name("i"), name("j"))), **bracket)),
        "corgh": row(D, fenced(sub(RHO, row(name("i"), name("j"))), **bracket), D),
        "fa": row(loadings, op("+"), bold("Ψ")),
        "rr": loadings,
        "known": row(variance, bold("S")),
    }
    forms["corh"] = forms["csh"]
    return forms.get(keyword, row(words(keyword), fenced(name("θ"))))


def form_of(structure: Structure, index: Math) -> Math:
    """Σ as its structure makes it; over places a function of the distance in ranges."""
    if not isinstance(structure, Distance):
        return form(structure.keyword, index)
    ends = row(name("i"), name("j"))
    h = row(sub(name("d"), ends), op("/"), name("φ"))
    square = sup(fenced(h), number("2"))
    functions = {
        "exp": row(words("exp"), fenced(op("−"), h)),
        "gau": row(words("exp"), fenced(op("−"), square)),
        "sph": row(number("1"), op("−"), row(number("3"), op("/"), number("2")), h, op("+"),
                   row(number("1"), op("/"), number("2")), sup(fenced(h), number("3"))),
        "lin": row(number("1"), op("−"), h),
        "ratio": row(number("1"), op("/"), fenced(number("1"), op("+"), square)),
        "mat": row(sub(name("M"), name("ν")), fenced(h)),
    }  # fmt: skip
    return row(sup(SIGMA, number("2")), fenced(functions[structure.keyword], left="[", right="]"))


def estimated(fit: Estimates, design: RandomDesign) -> tuple[Math, ...]:
    """= Σ̂ in numbers, where it is small."""
    sigma = fit.covariance(design.name).to_numpy()
    return (op("≈"), matrix(sigma)) if len(sigma) <= SHOWN else ()


def matrix(values: Array) -> Math:
    """A matrix with as many decimals everywhere as its smallest diagonal needs for three digits."""
    d = np.abs(np.diag(values))
    smallest = float(d[d > 0.0].min()) if np.any(d > 0.0) else 1.0
    places = int(np.clip(2 - np.floor(np.log10(smallest)), 0, 6))
    return table([[number(f"{v:.{places}f}" if v else "0") for v in one] for one in values])


# -- the residual ----------------------------------------------------------------------------


def residual(fit: Estimates) -> Math:
    """R, with the independent part of a field beside it."""
    spec = fit.specification
    R = spec.residual
    if isinstance(R, Sections):
        body = over("⨁", name(spec.residual_term.section or "s", True))
        main = row(body, sub(fenced(form_of_residual(fit, R.parts[0])), name("s")))
    else:
        main = form_of_residual(fit, R)
    units = [d for d in spec.random if is_units(d)]
    return row(main, op("+"), squared(SIGMA, name(UNITS)), IDENTITY) if units else main


def form_of_residual(fit: Estimates, R: ResidualStructure) -> Math:
    """The residual of one section."""
    variance = squared(SIGMA, name("e"))
    weighted = [sup(bold("W"), row(op("−"), number("1")))] if np.ptp(fit.specification.weights) > 0.0 else []
    if isinstance(R, Field):
        axes = [
            row(bold("C"), fenced(sub(RHO, name(label)))) if kind == "ar1" else IDENTITY
            for kind, label in zip(R.kinds, R.labels, strict=True)
        ]
        return row(variance, joined(axes, "⊗"))
    if isinstance(R, KnownResidual):
        known = row(words("diag"), fenced(name("v"))) if R.pattern.is_diagonal else bold("O")
        return row(squared(SIGMA, name("e")), known) if R.scaled else known
    if isinstance(R, Blocks):
        return row(over("⨁", name("i")), fenced(form_of(R.structure, "")))
    if isinstance(R, Places):
        whole = form_of(R.structure, "")
        return row(over("⨁", name("i")), fenced(whole)) if R.n_units > 1 else whole
    if isinstance(R, Exponential):
        return row(over("⨁", name("i")), fenced(form(R.keyword, "")))
    if isinstance(R, GroupedUnits):
        return row(over("⨁", name("j")), squared(SIGMA, name("j")), IDENTITY, *weighted)
    if isinstance(R, Power):
        size_of = sup(row(op("|"), name("x"), op("|")), row(number("2"), name("δ")))
        return row(variance, words("diag"), fenced(size_of), *weighted)
    return row(variance, *(weighted or [sub(IDENTITY, number(f"{fit.n_obs:,}"))]))
