"""The columns of the data that marginal means can be asked for, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from remlblup.errors import DataError, FormulaError, ModelError, listed, some
from remlblup.inference.fixed.terms import levels_of, require_fixed
from remlblup.model.algebra import read_terms
from remlblup.model.records import offset_columns, term_columns
from remlblup.model.scanner import split_top, squeeze, unquoted
from remlblup.model.specification import Specification
from remlblup.model.wilkinson import expression_of


@dataclass(frozen=True)
class Variables:
    """The columns of the data that means can be asked for.

    Attributes
    ----------
    factors : fixed factors, with their levels in order, as they are in the data
    covariates : numeric columns
    random : factors behind the bar of random terms, with the levels of the term
    spelled : other ways to write a name
    """

    factors: dict[str, list[Any]]
    covariates: list[str]
    random: dict[str, list[Any]]
    spelled: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: Specification) -> Variables:
        """Those of a model made from a formula.

        Raises
        ------
        ModelError
            For a model made from matrices.
        """
        if spec.formula is None or spec.records is None:
            raise ModelError(
                "marginal means need the formula and the data: a model made from matrices has neither. Use"
                " fit.test with the rows of the means."
            )
        frame, factors, spelled = spec.records.frame, {}, {}
        kinds = {e: (kind.value, state) for e, (kind, state) in spec.fixed.spec.encoder_state.items()}
        for term in spec.fixed.spec.formula:
            for factor in term.factors:
                kind, state = kinds.get(factor.expr, ("", {}))
                if kind == "categorical":
                    for name in expression_of(factor).columns:
                        factors[name] = levels_of(frame[name], state.get("categories", ()))
                        spelled[squeeze(factor.expr)] = name
        names = [c for c in read_terms(spec.formula.fixed).columns if c not in factors]
        for name in [
            c for c in names if frame[c].dtype.kind == "b"
        ]:  # yes and no are levels, whatever they are coded by
            factors[name] = levels_of(frame[name], (False, True))
        names = [c for c in names if c not in factors]
        names += offset_columns(spec.formula, frame)
        random: dict[str, list[Any]] = {}
        for design in spec.random:
            if design.term is None:
                names += design.spec.variables
                continue
            for group in design.term.groups:
                single = len(group.factors) == 1
                for name in group.factors:
                    if name in factors or name in names or name not in frame.columns:
                        continue  # the slope of a covariate is that, whatever else its values group
                    own = list(design.relationship.labels) if single else levels_of(frame[name], ())
                    random[name] = own if single or name not in random else random[name]
                    if single:
                        spelled[squeeze(group.label)] = spelled[squeeze(design.name)] = name
            needed = [*term_columns(design.term, frame)[0], *design.term.weights]
            effects = [c for c in needed if c not in random and c not in factors]
            for name in effects:
                if frame[name].dtype.kind in "iuf":
                    names.append(name)
                else:
                    factors[name] = levels_of(frame[name], ())
        return cls(factors, [c for c in dict.fromkeys(names) if c not in random], random, spelled)

    def named(self, names: Any, what: str) -> list[str]:
        """Columns by their names or as the formula writes them; ``"a:b"`` is two of them.

        Raises
        ------
        DataError
        """
        return [
            self._column(part, name, what) for name in listed(what, names, DataError) for part in self._crossed(name)
        ]

    def _column(self, name: Any, whole: Any, what: str) -> str:
        own = name if isinstance(name, str) and self.knows(name) else self.spelled.get(squeeze(str(name)), "")
        if own:
            return own
        known = [*self.factors, *self.covariates, *self.random]
        within = f" in '{whole}'" if name != whole else ""
        raise DataError(f"{what}: '{name}'{within} is no factor or covariate of this model. It has {some(known, 20)}.")

    def _crossed(self, name: Any) -> list[Any]:
        """The factors of ``"a:b"``; a name that is a column's is that column."""
        if not isinstance(name, str) or self.knows(name) or squeeze(name) in self.spelled:
            return [name]
        try:
            return [unquoted(part) for part in split_top(name, ":")]
        except FormulaError:  # brackets that do not match: no name of a column
            return [name]

    def knows(self, name: Any) -> bool:
        return name in self.factors or name in self.covariates or name in self.random


def check_targets(targets: Sequence[str], named: Sequence[str], what: str) -> None:
    """Refuse means of nothing, and of a factor by itself."""
    if not targets:
        raise DataError("factors= names none: give the factors whose levels the means are of.")
    if len(set(named)) < len(named):
        raise DataError(f"{what} {some(sorted({n for n in named if named.count(n) > 1}))} twice.")


def check_factors(spec: Specification, factors: Any, what: str) -> None:
    """Refuse factors that there can be no means of before the time of a fit is spent; `what` asked for them."""
    require_fixed(spec, "marginal means")
    named = Variables.of(spec).named(factors, what)
    check_targets(named, named, f"{what} {factors!r} names")
