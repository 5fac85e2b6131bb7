"""What a formula says, once read: the random terms, the smooth terms, and the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from remlblup.model.scanner import squeeze

Options = tuple[tuple[str, Any], ...]

# The name of the records themselves, as in ``(1 | units)`` and ``us(trait | units)``.
UNITS = "units"


@dataclass(frozen=True)
class Group:
    """What the levels of a random term are: one factor, or the combinations of several.

    `relationship` is the NAME of ``vm(factor, NAME)``, None for independent levels; `coefficient`
    the number in front of it, as in ``0.5*vm(mgs, A)``; `may_miss` whether a record without a level stays, adding
    nothing (an unknown parent), None where the position in the term says it. Of a product, ``vm(a, A):vm(b, B):f``,
    `product` holds the NAME of every factor, None for the independent ones; `relationship` is None. Without factors,
    ``exp(x, y | 1)``, there is one level of all records. In a sum, ``0.5*w*vm(n1, A) + vm(n2, A)``, `weights` are the
    columns that multiply it; `effect` is the effect that it has part in where a term has one per factor or bracket.
    """

    factors: tuple[str, ...]
    relationship: str | None = None
    coefficient: float = 1.0
    may_miss: bool | None = None
    product: tuple[str | None, ...] = ()
    weights: tuple[str, ...] = ()
    effect: int = 0

    @property
    def label(self) -> str:
        return ":".join(self.factors)

    @property
    def optional(self) -> tuple[str, ...]:
        """The factors that a record may lack where the group may be missing: of combinations those of individuals."""
        if self.product:
            return tuple(f for f, name in zip(self.factors, self.product, strict=True) if name)
        return self.factors if len(self.factors) == 1 else ()

    @property
    def names(self) -> tuple[str | None, ...]:
        """The NAME behind each factor; one for all where the combinations of factors are the levels."""
        return self.product or (self.relationship,)

    @property
    def multiple(self) -> str:
        """What it counts in a sum, without its sign: ``n1``, ``0.5*w*n1``."""
        size = abs(self.coefficient)
        return "*".join([*([f"{size:g}"] if size != 1.0 else []), *self.weights, self.label])

    @property
    def related(self) -> str:
        """Its relationship in words, ``A``, ``A ⊗ I``; empty for independent levels."""
        return " ⊗ ".join(name or "I" for name in self.names) if any(self.names) else ""

    @property
    def written(self) -> tuple[str, ...]:
        """Its factors as a formula has them: ``vm(a, A)``, ``f``."""
        if not self.product:
            return (f"vm({self.label},{self.relationship})",) if self.relationship else self.factors
        return tuple(f"vm({f},{k})" if k else f for f, k in zip(self.factors, self.product, strict=True))


@dataclass(frozen=True)
class RandomTerm:
    """One bar, ``structure(effects | group)``, or factors sharing a relationship, ``us(vm(a, A) + vm(b, A))``.

    Attributes
    ----------
    name : the term as written
    effects : what stands in front of the bar; empty where each factor is an effect of its own
    group : the levels, of the first factor where there are several
    structure : keyword of the covariance structure
    named : whether the structure was written, ``diag(site | g)``, or follows from the bar
    options : options of the structure, ``k=2``, as (name, value)
    more : further factors laid over the first, ``(1 | vm(sire, A) + 0.5*vm(mgs, A))``, or correlated with it
    short : the name without its options, empty where it has none
    coordinates : columns that say where the effects lie, of ``exp(x, y | g)``
    """

    name: str
    effects: str
    group: Group
    structure: str
    named: bool = False
    options: Options = ()
    more: tuple[Group, ...] = ()
    short: str = ""
    coordinates: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return squeeze(self.name)

    @property
    def groups(self) -> tuple[Group, ...]:
        """All factors of the term."""
        return (self.group, *self.more)

    def may_miss(self, position: int) -> bool:
        """Whether a record may lack the level of the factor at `position`: by default of any in a sum, and of any but
        the first, the individual itself."""
        marked = self.groups[position].may_miss
        if marked is not None:
            return marked
        return position > 0 or len(self.of_effect(self.group.effect)) > 1

    def of_effect(self, effect: int) -> list[Group]:
        """The factors that are added up to one effect; all of a term with a bar."""
        return [group for group in self.groups if not self.by_factor or group.effect == effect]

    @property
    def effect_names(self) -> tuple[str, ...]:
        """Of a term with an effect for each factor or bracket: ``n1 + 0.7*n2``."""
        names = []
        for k in range(self.groups[-1].effect + 1):
            own = self.of_effect(k)
            signs = ["-" if g.coefficient < 0 else "+" for g in own]
            rest = "".join(f" {s} {g.multiple}" for s, g in zip(signs[1:], own[1:], strict=True))
            names.append((own[0].multiple if len(own) > 1 else own[0].label) + rest)
        return tuple(names)

    @property
    def weights(self) -> tuple[str, ...]:
        """The columns that multiply factors."""
        return tuple(dict.fromkeys(column for group in self.groups for column in group.weights))

    @property
    def by_factor(self) -> bool:
        """Whether each factor, or bracket of factors, is an effect of its own, correlated with the others."""
        return not self.effects


@dataclass(frozen=True)
class SmoothTerm:
    """A smooth function of one covariate or two, ``spl(x)``, ``pspline(row, col)``, as random terms."""

    name: str
    function: str
    variables: tuple[str, ...]
    options: Options = ()

    @property
    def key(self) -> str:
        return squeeze(self.name)


@dataclass(frozen=True)
class MixedFormula:
    """Response, fixed part and random terms of a formula; `responses` where there are several, ``c(y1, y2)``.

    `offset` holds the expressions of ``offset(x)``, which are part of the mean with the coefficient 1.
    """

    text: str
    response: str
    fixed: str
    random: tuple[RandomTerm | SmoothTerm, ...]
    responses: tuple[str, ...] = ()
    offset: tuple[str, ...] = ()
