"""What a model says, in the few words that other programs share; what they do not share is refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.errors import ModelError
from remlblup.model.algebra import read_terms
from remlblup.model.design import RandomDesign
from remlblup.model.response import TRAIT
from remlblup.model.specification import Specification
from remlblup.relationship.base import RelationshipBase
from remlblup.structure.residual.blocks import Blocks

#: Structures of G that every program has: one variance, independent effects, a covariance matrix.
SHARED = ("id", "diag", "us")


@dataclass(frozen=True)
class Fixed:
    """A fixed effect: a product of factors and covariates, of none for the intercept.

    Attributes
    ----------
    factors, covariates : columns
    """

    factors: tuple[str, ...]
    covariates: tuple[str, ...]

    @property
    def name(self) -> str:
        return ":".join((*self.factors, *self.covariates)) or "mu"


@dataclass(frozen=True)
class Random:
    """A random effect.

    Attributes
    ----------
    name : the term as written
    group : columns of its levels
    codes : (n,) level of each record, from 0
    levels : their labels
    covariates : a column per effect, "" for the intercept; of several traits the traits
    joint : whether the effects are correlated
    relationship : K; None for independent levels
    sigma : (t, t) covariances to start from
    """

    name: str
    group: tuple[str, ...]
    codes: np.ndarray
    levels: tuple[str, ...]
    covariates: tuple[str, ...]
    joint: bool
    relationship: RelationshipBase | None
    relationship_name: str
    sigma: Array


@dataclass(frozen=True)
class Plan:
    """A model in shared words.

    Attributes
    ----------
    title : the formula
    responses : one or several
    frame : the records, a row each
    fixed, random : its effects; fixed ones are those of every trait
    residual : (t, t) covariances of the errors to start from
    correlated : whether the errors of traits are
    weights : column
    method : "REML" or "ML"
    """

    title: str
    responses: tuple[str, ...]
    frame: pd.DataFrame
    fixed: tuple[Fixed, ...]
    random: tuple[Random, ...]
    residual: Array
    correlated: bool
    weights: str | None
    method: str = "REML"

    @property
    def several(self) -> bool:
        return len(self.responses) > 1


def refuse(program: str, what: str, why: str) -> ModelError:
    """The error for what a program cannot say."""
    return ModelError(f"{program} cannot express {what}: {why}.")


def plan(spec: Specification, theta: Array | None, program: str) -> Plan:
    """The model in shared words.

    Raises
    ------
    ModelError
        For what `program` cannot express, by name.
    """
    if spec.formula is None or spec.records is None:
        raise refuse(program, "a model made from matrices", "its data have no names; write it from a formula")
    if spec.offset is not None:
        raise refuse(program, "offset(…)", "subtract it from the response first")
    if spec.groups:
        raise refuse(program, "groups of unknown parents", "they are written by none of these writers")
    responses = spec.responses or (spec.response,)
    frame = spec.records.original
    if missing := [r for r in responses if r not in frame.columns]:
        raise refuse(program, f"the response '{missing[0]}'", "it is an expression; make it a column of the data")
    values = _start(spec) if theta is None else theta
    *parts, phi = spec.parameters.split(values)
    residual, correlated = _residual(spec, phi, program)
    random = [_random(spec, d, part, frame, program) for d, part in zip(spec.random, parts, strict=True)]
    fixed = tuple(_fixed(spec, frame, program))
    return Plan(spec.formula.text, responses, frame, fixed, tuple(random), residual, correlated, spec.records.weights)


def _fixed(spec: Specification, frame: pd.DataFrame, program: str) -> list[Fixed]:
    """Terms as products of columns; of several traits each term must be one for every trait."""
    assert spec.formula is not None
    out = []
    for term in read_terms(spec.formula.fixed).terms:
        factors: list[str] = []
        covariates: list[str] = []
        for expression in term:
            name = expression.bare
            if name is None and expression.is_factor and len(expression.columns) == 1:
                name = expression.columns[0]
                factors.append(name)
                continue
            if name is None:
                raise refuse(program, f"'{expression.text}'", "make it a column of the data")
            numeric = name in frame.columns and pd.api.types.is_numeric_dtype(frame[name])
            boolean = name in frame.columns and pd.api.types.is_bool_dtype(frame[name])
            (covariates if numeric and not boolean else factors).append(name)
        if spec.responses:
            if TRAIT not in factors:
                if not term:  # the intercept: one of the columns of `trait`
                    continue
                raise refuse(program, f"'{':'.join(factors + covariates)}'", "with several traits write 'trait:…'")
            factors.remove(TRAIT)
        made = Fixed(tuple(factors), tuple(covariates))
        if made not in out:
            out.append(made)
    return out


def _random(spec: Specification, design: RandomDesign, part: Array, frame: pd.DataFrame, program: str) -> Random:
    term = design.term
    keyword = design.structure.keyword
    if term is None or getattr(term, "groups", None) is None:
        raise refuse(program, f"'{design.name}'", "smooth terms are Z matrices of their own")
    if term.group.product:
        raise refuse(program, f"'{design.name}'", "a product of relationships is written by none of these writers")
    if design.root is not None:
        raise refuse(program, f"'{design.name}'", "its relationship matrix is singular and has no inverse")
    if keyword not in SHARED:
        raise refuse(program, f"'{design.name}'", f"the structure {keyword} is written by none of these writers")
    if term.more or term.group.coefficient != 1.0:
        raise refuse(program, f"'{design.name}'", "several factors lie over one another")
    effects = list(design.structure.effects)
    if term.effects.strip() == "1":
        covariates = [""]
    elif spec.responses and effects == list(spec.responses):
        covariates = effects
    else:
        covariates = ["" if e == "Intercept" else e for e in effects]
        numeric = {c for c in frame.columns if pd.api.types.is_numeric_dtype(frame[c])}
        unknown = [c for c in covariates if c and c not in numeric]
        if unknown and not spec.responses:
            raise refuse(program, f"'{design.name}'", f"'{unknown[0]}' is no covariate in the data")
    if spec.responses and covariates != list(spec.responses):  # (trait | g) is an intercept and a difference
        raise refuse(program, f"'{design.name}'", "of several traits write 'us(trait | …)', a variance each")
    codes = _codes(design, frame, term.group.factors, program)
    levels = tuple(str(v) for v in design.relationship.labels)
    return Random(
        design.name,
        tuple(term.group.factors),
        codes,
        levels,
        tuple(covariates),
        keyword == "us" and len(effects) > 1,
        None if design.is_identity else design.relationship,
        term.group.relationship or "",
        np.atleast_2d(design.structure.covariance(part)),
    )


def _codes(design: RandomDesign, frame: pd.DataFrame, group: tuple[str, ...], program: str) -> np.ndarray:
    if absent := [g for g in group if g not in frame.columns]:
        raise refuse(program, f"'{design.name}'", f"'{absent[0]}' is no column of the data")
    if len(group) == 1:
        return np.asarray(design.relationship.find(frame[group[0]]), dtype=int)
    text = frame[list(group)].astype(str).agg(":".join, axis=1)
    places = pd.Index([str(v) for v in design.relationship.labels]).get_indexer(pd.Index(text))
    if (places < 0).any():
        raise refuse(program, f"'{design.name}'", "its levels could not be found again")
    return places


def _residual(spec: Specification, phi: Array, program: str) -> tuple[Array, bool]:
    said = spec.residual_term
    if not spec.responses:
        if said.keyword != "units" or said.plus_units:
            raise refuse(program, f"residual='{said.text}'", "only independent errors are written")
        return np.array([[float(phi[0])]]), False
    if said.keyword not in ("us", "diag") or said.effect != TRAIT:
        raise refuse(program, f"residual='{said.text}'", "of several traits it takes us(trait | units) or diag(…)")
    if not isinstance(spec.residual, Blocks):
        raise refuse(program, f"residual='{said.text}'", "of several traits it takes us(trait | units) or diag(…)")
    return np.asarray(spec.residual.structure.covariance(phi)), said.keyword == "us"


def _start(spec: Specification) -> Array:
    """Equal parts of the variance of the response for every variance, no covariances."""
    lower = spec.parameters.lower
    return np.where(lower == 0.0, float(np.var(spec.y)) / (len(spec.random) + 1.0), 0.0)


def number(value: Any) -> str:
    """A number as every program reads it."""
    return f"{float(value):.10g}"


def rows_of(matrix: Array) -> str:
    """A matrix, a line per row."""
    return "\n".join(" ".join(number(v) for v in row) for row in np.atleast_2d(matrix))


def codes_of(frame: pd.DataFrame, columns: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """Codes from 1 of the combinations of factors, and their labels."""
    text = frame[list(columns)].astype(str).agg(":".join, axis=1)
    codes, labels = pd.factorize(text, sort=True)
    return codes + 1, [str(v) for v in labels]
