"""Reading the reference folder: data files as R wrote them, and answer files as `Answer`s."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from remlblup.validation.answers import Answer, Digits, component_keys, plain

if TYPE_CHECKING:
    from remlblup import Fit

#: lme4 stops when its deviance does: its variances are good to 5 to 8 digits, and what follows from them.
LME4 = Digits(loglik=11.0, components=5.0, fixed=7.0, fixed_errors=5.0, effects=5.0)
#: nlme stops when its deviance does; of its estimates only what it prints of the fixed effects is read.
NLME = Digits(loglik=10.0, fixed=5.5, fixed_errors=5.0, effects=5.0)
#: Answers computed by the dense evaluation of the reference folder, converged to a gradient of 1e-6 or less.
CONVERGED = Digits(10.0, 8.0, 8.0, 8.0, 8.0, 8.0, 8.0)

Where = Mapping[str, tuple[str, tuple[str, ...]]]


def read_data(path: Path, factors: Iterable[str] = (), levels: Mapping[str, list[str]] | None = None) -> pd.DataFrame:
    """A CSV written by R: quoted columns are factors and stay text.

    Parameters
    ----------
    path : Path
    factors : names of further columns that are factors
    levels : column → its levels in order, where R's base level is not the first in the alphabet
    """
    with path.open(encoding="utf-8") as file:
        lines = [line.rstrip("\n").split(",") for _, line in zip(range(60), file, strict=False)]
    names = [n.strip('"') for n in lines[0]]
    quoted = {n for k, n in enumerate(names) if any(len(row) > k and row[k].startswith('"') for row in lines[1:])}
    return in_order(pd.read_csv(path, dtype=dict.fromkeys(quoted | set(factors), str)), levels or {})


def in_order(data: pd.DataFrame, levels: Mapping[str, list[str]]) -> pd.DataFrame:
    """The data with factors whose levels have an order of their own."""
    return data.assign(**{column: pd.Categorical(data[column], order) for column, order in levels.items()})


def read_answer_file(path: Path) -> dict[str, Any]:
    """An answer file as it is."""
    return json.loads(path.read_text(encoding="utf-8"))


def answers_of(
    stored: dict[str, Any],
    method: str,
    fit: Fit,
    terms: Mapping[str, str],
    where: Where | None = None,
    effects: Mapping[str, tuple[str, str]] | None = None,
    fixed: Mapping[str, str] | None = None,
) -> dict[str, Answer]:
    """The answers of one file for one estimator, by label.

    Parameters
    ----------
    stored : dict
        An answer file.
    method : {"REML", "ML"}
    fit : ours, for the names of its components
    terms : mapping
        Their name of each random factor → our term.
    where : mapping, optional
        Their component → (our term, its effects), where the name does not say so by itself.
    effects : mapping, optional
        Their random factor → (our term, effect), where the effect is not the intercept.
    fixed : mapping, optional
        Their coefficient → ours in R's spelling.
    """
    read = _Reader(fit, terms, where or {}, effects or {}, fixed or {})
    if "varcomp" not in stored:
        return read.nlme(stored) if method == "REML" else {"ML": read.oracle(stored["ML"]["oracle"], stored)}
    if "group" not in stored["varcomp"][0]:
        return {method: read.dense(stored)} if method == "REML" else {method: read.dense_ml(stored)}
    if method == "ML":
        return {"ML": read.lme4_ml(stored)}
    answers = {"lme4": read.lme4(stored)}
    if "oracle" in stored:
        answers["dense"] = read.oracle(stored["oracle"])
    return answers


class _Reader:
    """Turns the entries of answer files into our names."""

    def __init__(
        self,
        fit: Fit,
        terms: Mapping[str, str],
        where: Where,
        effects: Mapping[str, tuple[str, str]],
        fixed: Mapping[str, str],
    ):
        self.keys = component_keys(fit)
        self.terms = terms
        self.where = where
        self.effects = {name: (term, "Intercept") for name, term in terms.items()} | dict(effects)
        self.fixed = fixed

    def dense(self, stored: dict[str, Any]) -> Answer:
        rows = stored["varcomp"]
        names = [r["name"] for r in rows]
        blups = stored.get("blup") or {}
        return Answer(
            source="dense evaluation",
            components=self._components(names, [r["value"] for r in rows]),
            component_errors=self._components(names, [r["se_AI"] for r in rows]),
            loglik=stored["logLik"]["value"],
            fixed=_series(stored["fixed"], "name", "estimate").rename(self.fixed),
            fixed_errors=_series(stored["fixed"], "name", "se").rename(self.fixed),
            effects={self.effects[g]: _levels(b, b["blup"]) for g, b in blups.items()},
            # They are written as zero where the PEV is negative (a negative component).
            effect_errors={self.effects[g]: _levels(b, b["se_pev"]) for g, b in blups.items() if any(b["se_pev"])},
            digits=CONVERGED,
        )

    def dense_ml(self, stored: dict[str, Any]) -> Answer:
        ml = stored["ML"]
        names = [f["name"] for f in stored["fixed"]]
        return Answer(
            "dense evaluation",
            self._components(ml["names"], ml["theta"]),
            self._components(ml["names"], ml["se_AI"]),
            ml["logLik"],
            _named(names, ml["beta"]),
            _named(names, ml["se_beta"]),
            digits=CONVERGED,
        )

    def oracle(self, oracle: dict[str, Any], stored: dict[str, Any] | None = None) -> Answer:
        """The dense evaluation beside another program; names of its coefficients, where it has none, from the file."""
        names = (
            _listed(oracle["beta_names"]) if "beta_names" in oracle else _listed((stored or {})["oracle"]["beta_names"])
        )
        return Answer(
            "dense evaluation",
            self._components(oracle["names"], oracle["theta"]),
            self._components(oracle["names"], oracle["se_AI"]) if oracle.get("se_AI") else None,
            oracle["logLik"],
            _named(names, oracle["beta"]),
            _named(names, oracle["se_beta"]) if "se_beta" in oracle else None,
            digits=CONVERGED,
        )

    def nlme(self, stored: dict[str, Any]) -> dict[str, Answer]:
        """What nlme prints, and the dense evaluation; its components are read from the latter alone."""
        levels = {
            self.effects[group]: pd.Series(values, index=[str(v) for v in blup["levels"]])
            for group, blup in zip(self.terms, stored.get("blup") or (), strict=False)
            for values in blup["effects"].values()
        }
        printed = Answer(
            stored["software"],
            pd.Series(dtype=float),
            None,
            stored["logLik"]["value"],
            _series(stored["fixed"], "name", "Value"),
            _series(stored["fixed"], "name", "Std.Error"),
            levels,
            digits=NLME,
        )
        return {"nlme": printed, "dense": self.oracle(stored["oracle"])}

    def lme4(self, stored: dict[str, Any]) -> Answer:
        effects = {
            (self.terms[group], self._effect(self.terms[group], effect)): _levels(blup, values)
            for group, blup in (stored.get("blup") or {}).items()
            for effect, values in blup["effects"].items()
        }
        fixed, errors = _series(stored["fixed"], "name", "Estimate"), _series(stored["fixed"], "name", "Std. Error")
        return Answer(
            stored["software"],
            self._lme4_components(stored["varcomp"]),
            None,
            stored["logLik"]["value"],
            fixed,
            errors,
            effects,
            digits=LME4,
        )

    def lme4_ml(self, stored: dict[str, Any]) -> Answer:
        ml = stored["ML"]
        return Answer(
            stored["software"],
            self._lme4_components(ml["varcomp"]),
            None,
            ml["logLik"],
            _series(ml["fixed"], "name", "estimate"),
            _series(ml["fixed"], "name", "se"),
            digits=LME4,
        )

    def _lme4_components(self, rows: list[dict[str, Any]]) -> pd.Series:
        values = {}
        for row in rows:
            if row["group"] == "Residual":
                values["residual", "variance"] = row["value"]
                continue
            term = self.terms[row["group"]]
            effects = frozenset(self._effect(term, v) for v in (row["var1"], row["var2"]) if v)
            values[self.keys[term, effects]] = row["value"]
        return pd.Series(values, dtype=float)

    def _components(self, names: list[str], values: list[float | None]) -> pd.Series:
        return pd.Series({self._key(n): v for n, v in zip(names, values, strict=True)}, dtype=float)

    def _key(self, name: str) -> tuple[str, str]:
        """Our component of ``animal``, ``Subject:Days,(Intercept)`` or ``Residual``."""
        if name in self.where:
            term, effects = self.where[name]
            return self.keys[term, frozenset(effects)]
        if name.lower() == "residual":
            return "residual", "variance"
        if name in self.terms:
            return self.keys[self.terms[name], frozenset({"Intercept"})]
        group = max((g for g in self.terms if name.startswith(f"{g}:")), key=len)
        term = self.terms[group]
        return self.keys[term, frozenset(self._effect(term, e) for e in name[len(group) + 1 :].split(","))]

    @staticmethod
    def _effect(term: str, name: str) -> str:
        """Our name of an effect: of ``us(Machine | Worker)`` the level alone, where R writes ``MachineA``."""
        found = re.match(r"\w+\((\w+) \|", term)
        return plain(name.removeprefix(found[1])) if found else plain(name)


def _series(rows: list[dict[str, Any]], name: str, value: str) -> pd.Series:
    return pd.Series({r[name]: r[value] for r in rows}, dtype=float)


def _named(names: list[str], values: Any) -> pd.Series:
    return pd.Series(np.asarray(_listed(values), dtype=float), index=names)


def _listed(value: Any) -> list[Any]:
    """R writes a vector of one as a scalar."""
    return value if isinstance(value, list) else [value]


def _levels(blup: dict[str, Any], values: Any) -> pd.Series:
    """Values by level: the file lists the first `shown` levels."""
    return pd.Series(np.asarray(_listed(values), dtype=float), index=[str(v) for v in _listed(blup["levels"])])
