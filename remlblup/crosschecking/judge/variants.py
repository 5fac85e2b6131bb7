"""The dull reasons: each as another model, another method, or other numbers for the same estimates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import scipy.sparse as sp

from remlblup.arrays import Array
from remlblup.crosschecking.judge.names import effects_of
from remlblup.model.design import RandomDesign, named_relationships
from remlblup.model.parameters import RESIDUAL, Parameters
from remlblup.model.specification import Specification, from_formula
from remlblup.relationship.base import IdentityRelationship, RelationshipBase
from remlblup.relationship.given.matrix import MatrixRelationship
from remlblup.relationship.pedigree.pedigree import Pedigree
from remlblup.relationship.product import Product

#: Codes that programs read as missing.
MISSING_CODES = ("0", "-9", "-99", "-999", "-9999", "9999", "999", "NA", "na", "N/A", "NaN", ".", "*", "-")
#: A covariate with as many values or fewer may be a factor.
FEW = 12
#: Up to this many levels the inverse of a relationship is cut.
MOST_LEVELS = 20_000


@dataclass(frozen=True)
class Variant:
    """One way in which theirs may come about.

    Attributes
    ----------
    reason : in a few words, as the verdict says it
    detail : what was changed
    make : the model; None where it is ours
    method : "REML" or "ML"; None for that of our fit
    of : from the estimates of that model to the numbers printed
    """

    reason: str
    detail: str
    make: Callable[[], Specification] | None = None
    method: str | None = None
    of: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class Ours:
    """What the variants are made of: our model, in parts.

    Attributes
    ----------
    spec, method : of our fit
    frame : the records used, as the user gave them
    whole : the whole data with the rows that we left out, where the user gave it
    relationships : NAME → relationship
    """

    spec: Specification
    method: str
    frame: pd.DataFrame
    whole: pd.DataFrame | None
    relationships: dict[str, RelationshipBase]

    @classmethod
    def of(cls, spec: Specification, method: str, whole: pd.DataFrame | None = None) -> Ours | None:
        """None for a model made from matrices, which has no data to change."""
        if spec.formula is None or spec.records is None:
            return None
        named = named_relationships(spec.random)
        return cls(spec, method, spec.records.original, whole, named)

    def model(
        self,
        frame: pd.DataFrame | None = None,
        relationships: dict[str, RelationshipBase] | None = None,
        weights: str | None = "as ours",
        formula: str | None = None,
    ) -> Specification:
        """Our model with other records, relationships, weights or formula."""
        spec = self.spec
        assert spec.formula is not None and spec.records is not None
        given = (self.relationships if relationships is None else relationships) | dict(spec.matrices)
        own = spec.records.weights if weights == "as ours" else weights
        data = self.frame if frame is None else frame
        text = formula or spec.formula.text
        return from_formula(text, data, given, spec.residual_text, own, "drop", spec.unknown_parents)


def variants(ours: Ours) -> Iterator[Variant]:
    """Every dull reason that this model leaves room for."""
    other = "ML" if ours.method == "REML" else "REML"
    yield Variant(f"{other} in place of {ours.method}", f"estimated by {other}", None, other)
    yield from other_numbers(ours.spec.parameters)
    yield from other_relationships(ours)
    yield from other_weights(ours)
    yield from other_records(ours)
    yield from other_columns(ours)


# -- other numbers for the same estimates ----------------------------------------------------


def other_numbers(parameters: Parameters) -> Iterator[Variant]:
    """Ratios, standard deviations, correlations, ranges."""
    is_variance = np.array([effects_of(name)[0] == "variance" for _, name in parameters.pairs])
    residual = np.array([term == RESIDUAL for term, _ in parameters.pairs])
    linear = np.array([effects_of(name)[0] != "parameter" for _, name in parameters.pairs])
    if (residual & is_variance).sum() == 1:
        scale = int(np.flatnonzero(residual & is_variance)[0])
        ratio = linear & ~residual

        def over_residual(theta: Array) -> Array:
            return np.where(ratio, theta / theta[scale], theta)

        def with_one(theta: Array) -> Array:
            return np.where(np.arange(len(theta)) == scale, 1.0, over_residual(theta))

        def over_total(theta: Array) -> Array:
            return np.where(linear, theta / theta[is_variance].sum(), theta)

        yield Variant("components as ratios", "divided by the residual variance", of=over_residual)
        yield Variant("components as ratios", "divided by the residual variance, itself 1", of=with_one)
        yield Variant("components as ratios", "shares of the sum of all variances", of=over_total)
    yield Variant("standard deviations", "roots of the variances", of=_roots(parameters))
    places = [k for k, (_, name) in enumerate(parameters.pairs) if is_correlation(name)]
    if places:
        at = np.isin(np.arange(parameters.size), places)
        with np.errstate(all="ignore"):
            for words, function in (
                ("the range −1/log ρ", lambda r: -1.0 / np.log(r)),
                ("the decay −log ρ", lambda r: -np.log(r)),
                ("the practical range −3/log ρ", lambda r: -3.0 / np.log(r)),
            ):
                yield Variant("range for correlation", words, of=_where(at, function))


def is_correlation(name: str) -> bool:
    """Whether a parameter of ours is the correlation of neighbours."""
    return name.split("(")[0].split("[")[0].strip().lower().startswith(("rho", "cor", "ar", "phi"))


def _where(at: np.ndarray, function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def of(theta: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.where(at, function(np.where(at, np.clip(theta, 1e-300, None), 0.5)), theta)

    return of


def _roots(parameters: Parameters) -> Callable[[Array], Array]:
    """√ of variances, and correlations in place of covariances."""

    def of(theta: Array) -> Array:
        out = theta.copy()
        place = {}
        for k, (term, name) in enumerate(parameters.pairs):
            kind, effects = effects_of(name)
            if kind == "variance":
                place[term, effects[0]] = k
                out[k] = np.sqrt(max(theta[k], 0.0))
        for k, (term, name) in enumerate(parameters.pairs):
            kind, effects = effects_of(name)
            pair = [place.get((term, e)) for e in effects]
            if kind == "covariance" and None not in pair:
                product = theta[pair[0]] * theta[pair[1]]
                out[k] = theta[k] / np.sqrt(product) if product > 0.0 else np.nan
        return out

    return of


# -- other relationships ---------------------------------------------------------------------


def other_relationships(ours: Ours) -> Iterator[Variant]:
    """Inbreeding, and A cut to what has records."""
    for name, relationship in ours.relationships.items():
        if isinstance(relationship, IdentityRelationship):
            continue
        with_records = _levels(ours.spec, name)
        if is_plain(relationship):
            assert isinstance(relationship, Pedigree)
            if np.any(relationship.inbreeding > 0.0) or relationship.ignore_inbreeding:
                flag = not relationship.ignore_inbreeding
                words = "inbreeding ignored" if flag else "inbreeding considered"
                yield Variant(words, f"in A⁻¹ of {name}", _changed(ours, name, _rebuilt, relationship, flag))
            if len(with_records) < relationship.size:
                yield Variant(
                    "A cut to animals with records",
                    f"other animals removed from the pedigree {name}",
                    _changed(ours, name, _cut_pedigree, relationship, with_records),
                )
        if len(with_records) < relationship.size <= MOST_LEVELS:
            yield Variant(
                "A cut to animals with records",
                f"the inverse of {name} cut, rows and columns of other animals removed",
                _changed(ours, name, _cut_inverse, relationship, with_records),
            )
        yield Variant(
            "relationships ignored",
            f"levels of {name} independent",
            _changed(ours, name, _independent, relationship, with_records),
        )


def is_plain(relationship: RelationshipBase) -> bool:
    """A pedigree without groups, selfing or clones."""
    if type(relationship) is not Pedigree:
        return False
    return relationship.selfing is None and relationship.groups is None and not len(relationship.ramets)


def _changed(
    ours: Ours, name: str, change: Callable[..., RelationshipBase], *of: object
) -> Callable[[], Specification]:
    return lambda: ours.model(relationships=ours.relationships | {name: change(*of)})


def _levels(spec: Specification, name: str) -> np.ndarray:
    """Numbers of the levels of a relationship that records have."""
    found: set[int] = set()
    for design in spec.random:
        if name in design.named and design.root is None:
            for Z in design.columns:
                positions = np.unique(sp.csr_array(Z).indices)
                found.update(_of_factor(design, name, positions).tolist())
    return np.array(sorted(found), dtype=int)


def _of_factor(design: RandomDesign, name: str, positions: np.ndarray) -> np.ndarray:
    """Levels in a relationship by their positions in the term's, which may be a product with others."""
    if not isinstance(design.relationship, Product) or design.term is None:
        return positions
    codes = design.relationship.codes_of(positions)
    return np.unique(codes[:, [named == name for named in design.term.group.names]])


def _parents(pedigree: Pedigree) -> list[list[str | None]]:
    """Labels of the sires and of the dams, None where unknown."""
    labels = [str(v) for v in pedigree.labels]
    return [[labels[p] if p >= 0 else None for p in side] for side in (pedigree.sire, pedigree.dam)]


def _rebuilt(pedigree: Pedigree, ignore: bool) -> Pedigree:
    sires, dams = _parents(pedigree)
    labels = [str(v) for v in pedigree.labels]
    monoecious = pedigree.hermaphrodites
    return Pedigree(labels, sires, dams, unknown=[], hermaphrodites=monoecious, ignore_inbreeding=ignore)


def _cut_pedigree(pedigree: Pedigree, kept: np.ndarray) -> Pedigree:
    labels = [str(v) for v in pedigree.labels]
    stay = {labels[k] for k in kept}
    sires, dams = ([p if p in stay else None for p in side] for side in _parents(pedigree))
    rows = [k for k, label in enumerate(labels) if label in stay]
    return Pedigree(
        [labels[k] for k in rows],
        [sires[k] for k in rows],
        [dams[k] for k in rows],
        unknown=[],
        hermaphrodites=pedigree.hermaphrodites,
        ignore_inbreeding=pedigree.ignore_inbreeding,
    )


def _cut_inverse(relationship: RelationshipBase, kept: np.ndarray) -> MatrixRelationship:
    part = relationship.precision.tocsr()[kept][:, kept]
    return MatrixRelationship(part.tocsc(), [str(relationship.labels[k]) for k in kept], inverse=True)


def _independent(relationship: RelationshipBase, kept: np.ndarray) -> MatrixRelationship:
    return MatrixRelationship(sp.eye_array(len(kept), format="csc"), [str(relationship.labels[k]) for k in kept])


# -- other weights, records, columns ---------------------------------------------------------


def other_weights(ours: Ours) -> Iterator[Variant]:
    """Weights as variances, as inverse standard deviations, or not at all."""
    assert ours.spec.records is not None
    name = ours.spec.records.weights
    if name is None:
        return
    w = pd.to_numeric(ours.frame[name]).astype(float)
    for words, values in (
        ("weights as variances: 1/w in place of w", 1.0 / w),
        ("weights as inverse standard deviations: w² in place of w", w**2),
        ("weights as standard deviations: 1/w² in place of w", 1.0 / w**2),
        ("weights as 1/√w² : √w in place of w", np.sqrt(w)),
    ):
        reason = "weights inverted" if "variances: 1" in words else "weights of another kind"
        yield Variant(reason, words, partial(ours.model, ours.frame.assign(**{name: values})))
    yield Variant("weights ignored", "all records alike", partial(ours.model, weights=None))


def other_records(ours: Ours) -> Iterator[Variant]:
    """Records dropped, missing values filled in, codes read as missing."""
    frame = ours.frame
    for reason, words, keep in dropped(ours):
        if 0 < (~keep).sum() < len(frame) - ours.spec.p - 2:
            yield Variant(reason, f"{words} ({int((~keep).sum())} rows)", partial(ours.model, frame[keep]))
    for whole, columns in ((frame, ours.spec.responses), (ours.whole, ours.spec.responses or (ours.spec.response,))):
        if whole is None:
            continue
        columns = tuple(c for c in columns if c in whole.columns)
        gaps = whole[list(columns)].isna()
        if columns and gaps.to_numpy().any():
            where = f"{int(gaps.to_numpy().sum())} missing values of {', '.join(columns)}"
            means = whole.assign(**{c: whole[c].fillna(whole[c].mean()) for c in columns})
            zeros = whole.assign(**{c: whole[c].fillna(0.0) for c in columns})
            yield Variant("missing values imputed", f"{where} by the mean", partial(ours.model, means))
            yield Variant("missing values imputed", f"{where} by zero", partial(ours.model, zeros))


def dropped(ours: Ours) -> Iterator[tuple[str, str, pd.Series]]:
    """Reason, what goes, and a mask of what stays."""
    frame, spec = ours.frame, ours.spec
    assert spec.records is not None
    yield "records dropped", "rows with anything missing in any column", frame.notna().all(axis=1)
    responses = [c for c in (spec.responses or (spec.response,)) if c in frame.columns]
    if responses:
        if len(responses) > 1:
            yield "records dropped", "rows without all traits", frame[responses].notna().all(axis=1)
        numbers = frame[responses].apply(pd.to_numeric, errors="coerce")
        yield "records dropped", "zeros of the response taken as missing", (numbers != 0.0).all(axis=1)
        negative = (numbers > 0.0) | numbers.isna()
        yield "records dropped", "negative values of the response", negative.all(axis=1)
    position = pd.Series(np.arange(len(frame)), index=frame.index)
    yield "records dropped", "the first row, taken for names", position > 0
    yield "records dropped", "the last row", position < len(frame) - 1
    for factor in factor_columns(spec):
        text = frame[factor].astype(str)
        if text.duplicated().any() and text.nunique() > 0.3 * len(frame):
            yield "records dropped", f"all but the first record of every level of {factor}", ~text.duplicated()
            yield (
                "records dropped",
                f"all but the last record of every level of {factor}",
                ~text.duplicated(keep="last"),
            )
        for code in sorted(set(text) & set(MISSING_CODES)):
            yield "level coded missing", f"{factor} {code!r} read as missing, its rows dropped", text != code
    for factor, pedigree in _pedigree_factors(ours):
        known = {
            str(v) for v, s, d in zip(pedigree.labels, pedigree.sire, pedigree.dam, strict=True) if s >= 0 or d >= 0
        }
        keep = frame[factor].astype(str).isin(known)
        yield "records dropped", f"records of {factor} without known parents", keep


def _pedigree_factors(ours: Ours) -> Iterator[tuple[str, Pedigree]]:
    for design in ours.spec.random:
        for group in design.term.groups if design.term is not None else ():
            pedigree = ours.relationships.get(group.relationship or "")
            if isinstance(pedigree, Pedigree) and len(group.factors) == 1 and group.factors[0] in ours.frame.columns:
                yield group.factors[0], pedigree


def factor_columns(spec: Specification) -> list[str]:
    """Columns of the data that stand behind bars, and those of text or categories in the fixed part."""
    assert spec.records is not None
    names = [f for d in spec.random if d.term is not None for g in d.term.groups for f in g.factors]
    frame = spec.records.original
    names += [c for c in spec.records.used if c in frame.columns and not pd.api.types.is_numeric_dtype(frame[c])]
    return [n for n in dict.fromkeys(names) if n in frame.columns]


def other_columns(ours: Ours) -> Iterator[Variant]:
    """A factor of the fixed part taken as a covariate, a covariate as a factor."""
    assert ours.spec.records is not None
    behind = {f for d in ours.spec.random if d.term is not None for g in d.term.groups for f in g.factors}
    skipped = {*behind, *ours.spec.responses, ours.spec.response, ours.spec.records.weights}
    for name in ours.spec.records.used:
        if name in skipped or name not in ours.frame.columns:
            continue
        column = ours.frame[name]
        numbers = pd.to_numeric(column.astype(str), errors="coerce")
        if pd.api.types.is_numeric_dtype(column) and 2 < column.nunique() <= FEW:
            as_text = ours.frame.assign(**{name: column.map(lambda v: f"v{v}")})
            yield Variant("covariate taken as a factor", name, partial(ours.model, as_text))
        elif not pd.api.types.is_numeric_dtype(column) and numbers.notna().all() and column.nunique() > 2:
            as_number = ours.frame.assign(**{name: numbers.astype(float)})
            yield Variant("factor taken as a covariate", name, partial(ours.model, as_number))
