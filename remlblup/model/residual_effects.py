"""The residual among the random terms: the same model with R = 0, for equations that do not divide by R.

A residual matrix that is singular, or without constraints negative, is an ordinary point of a model whose V is positive
definite. Written as random terms, e = Z_r u_r with one effect of each unit, its matrix has the coordinates, bounds and
tangents that Σ of a random term has. θ is the same vector: the parameters of R come last in both.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from remlblup.arrays import Index
from remlblup.errors import ModelError
from remlblup.model.design import RandomDesign
from remlblup.model.parameters import RESIDUAL
from remlblup.model.specification import Specification
from remlblup.relationship.base import IdentityRelationship
from remlblup.structure.base import Structure
from remlblup.structure.covariance.diagonal import Diagonal
from remlblup.structure.covariance.identity import Identity
from remlblup.structure.residual.base import ResidualStructure
from remlblup.structure.residual.blocks import Blocks
from remlblup.structure.residual.grouped_units import GroupedUnits
from remlblup.structure.residual.known_residual import KnownResidual
from remlblup.structure.residual.no_residual import NoResidual
from remlblup.structure.residual.places import Places
from remlblup.structure.residual.scaled import Scaled
from remlblup.structure.residual.sections import Sections
from remlblup.structure.residual.units import Units
from remlblup.structure.residual.whole_residual import WholeResidual

# Records up to which R as a whole is one Σ: it is held several times, and multiplied out.
LARGEST_WHOLE = 3000


def residual_as_effects(spec: Specification) -> Specification:
    """The model with its residual as random terms and R = 0; θ keeps its meaning.

    A residual without a parameter has an inverse everywhere, and stays.

    Raises
    ------
    ModelError
        If the residual is one matrix over more than 3,000 records.
    """
    if not spec.residual.n_parameters:
        return spec
    designs = residual_designs(spec.residual, np.arange(spec.n), spec.n)
    named = [replace(d, name=RESIDUAL if len(designs) == 1 else f"{RESIDUAL} {d.name}") for d in designs]
    return replace(spec, random=(*spec.random, *named), residual=NoResidual(spec.n, spec.residual))


def residual_designs(residual: ResidualStructure, records: Index, n: int, name: str = RESIDUAL) -> list[RandomDesign]:
    """The random terms that make up `residual` over some of n records."""
    if isinstance(residual, Sections):
        out = []
        for part, place, label in zip(residual.parts, residual.places, residual.labels, strict=True):
            out += residual_designs(part, records[place[: len(place) - part.n_filled]], n, label)
        return out
    if isinstance(residual, NoResidual):  # it is among the random terms already
        return []
    if isinstance(residual, Units):
        unit = np.arange(len(records))
        return [_design(name, Identity((RESIDUAL,)), unit, np.zeros(len(unit), int), records, n, residual.weights)]
    if isinstance(residual, GroupedUnits):
        levels = Diagonal([str(level) for level in residual.levels])
        return [_design(name, levels, np.arange(len(records)), residual.codes, records, n, residual.weights)]
    if isinstance(residual, Blocks):
        unit = np.empty(len(records), np.int64)
        last = 0
        for stack in residual.stacks:
            unit[stack.records] = last + np.arange(len(stack.records))[:, None]
            last += len(stack.records)
        return [_design(name, residual.structure, unit, residual.effect, records, n, residual.weights)]
    if isinstance(residual, KnownResidual):
        return [_design_of_known(name, residual, records, n)]
    if isinstance(residual, Places):
        return [_design(name, residual.structure, residual.unit, residual.place, records, n, None)]
    assert isinstance(residual, Scaled)
    check_whole(len(records))
    whole = np.arange(len(records))
    return [_design(name, WholeResidual(residual), np.zeros(len(records), int), whole, records, n, None)]


def _design_of_known(name: str, residual: KnownResidual, records: Index, n: int) -> RandomDesign:
    """e = σ L b with O = LL' and b independent."""
    check_whole(len(records))
    L = sp.coo_array(residual.root())
    columns = (sp.csr_array((L.data, (records[L.row], L.col)), shape=(n, len(records))),)
    moments = np.array([[float(np.mean(residual.diagonal))]])
    return RandomDesign(name, Identity((RESIDUAL,)), IdentityRelationship(np.arange(len(records))), columns, moments)


def check_whole(n: int) -> None:
    """Refuse R of too many records as one matrix."""
    if n > LARGEST_WHOLE:
        raise ModelError(
            f"R of {n:,} records as one matrix is too large to work without its inverse (at most {LARGEST_WHOLE:,})."
        )


def _design(
    name: str, structure: Structure, unit: Index, effect: Index, records: Index, n: int, weights: np.ndarray | None
) -> RandomDesign:
    """e of a record is the effect of its unit, over √w."""
    q, loads = int(unit.max()) + 1, np.ones(len(records)) if weights is None else 1.0 / np.sqrt(weights)
    columns = []
    for i in range(structure.size):
        own = effect == i
        place = records[own], unit[own]
        columns.append(sp.csr_array((loads[own], place), shape=(n, q)))
    moments = np.diag(np.bincount(effect, loads**2, structure.size) / n)
    return RandomDesign(name, structure, IdentityRelationship(np.arange(q)), tuple(columns), moments)
