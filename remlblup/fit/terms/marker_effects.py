"""Effects of markers, back-solved from the breeding values of a genomic relationship."""

from __future__ import annotations

import numpy as np
import pandas as pd

from remlblup.arrays import Array
from remlblup.equations.base import CHUNK
from remlblup.errors import ModelError, OptionError, RelationshipError, choose, count, some
from remlblup.fit.solved import Solved
from remlblup.fit.tables.effects import effect_index, term_index
from remlblup.keywords import known_arguments
from remlblup.linalg.memory import within_memory
from remlblup.linalg.threads import side_by_side, single_threaded
from remlblup.relationship.genomic.codings import coding
from remlblup.relationship.genomic.decoding import coded
from remlblup.relationship.genomic.genotypes import Genotypes, as_genotypes
from remlblup.relationship.genomic.matrix import Progress, block_size, reporter
from remlblup.relationship.labels import match
from remlblup.relationship.single_step.relationship import SingleStep

METHODS = ("vanraden1", "vanraden2", "yang", "dominance", "dominance_su")
_AGREE = 1e-6
#: With a share, the least squared correlation of Zα̂ with û: a polygenic part of K takes little of û.
_RECOVERED = 0.9
_COLUMNS = 256


@known_arguments
@within_memory
@single_threaded
def snp_effects(
    fit: Solved,
    term: str,
    genotypes: Genotypes | pd.DataFrame,
    method: str = "vanraden1",
    frequencies: object = None,
    *,
    share: float | None = None,
    p_values: bool = False,
    effect: str | None = None,
    block: int | None = None,
    progress: bool | Progress | None = None,
) -> pd.DataFrame:
    """Marker effects α̂ = share/k · Z' K⁻¹û, with û from a model whose relationship K is made of the markers.

    With K = ZZ'/k they are the BLUPs of the SNP-BLUP model u = Zα, α ~ N(0, I σ²/k) (Strandén & Garrick 2009,
    J Dairy Sci 92:2971). K⁻¹û = σ² Z_u'Py comes from the equations, so that K need not have an inverse.

    Parameters
    ----------
    fit : Fit or Solved
    term : str
        The random term, such as ``"vm(animal, G)"``.
    genotypes, method, frequencies
        As given to `genomic_matrix` for K; the genotypes hold every level of K. K of single-step holds animals without
        genotypes and is refused.
    share : float, optional
        Share of ZZ'/k in K, where K has more in it: 0.95 for 0.95 G + 0.05 A22, b (times that) for a tuned one.
        Above 0, at most 1. Without it K must be ZZ'/k, which is tested: Zα̂ = û. With it the squared correlation of
        Zα̂ with û must be at least 0.9.
    p_values : bool
        Add variances and tests: var(α̂) = (share/k)² Z'K⁻¹ var(û) K⁻¹Z with var(û) = Gσ² − PEV, and normal p values
        of α̂ / √var(α̂) (Gualdrón Duarte et al. 2014, BMC Bioinformatics 15:246).
    effect : str, optional
        Which effect, of a term that has several.
    block : int, optional
        Markers at a time.
    progress : bool or callable, optional
        As of `genomic_matrix`.

    Returns
    -------
    DataFrame
        A row per marker: marker, frequency (of the counted allele, as observed), effect (of one more copy of it; of the
        dominance methods the dominance deviation d), and variance, z, p_value if asked for. ``attrs["recovered"]``
        is the squared correlation of Zα̂ with û.

    Raises
    ------
    RelationshipError
        If K holds levels without genotypes, or is a `SingleStep`.
    ModelError
        If Zα̂ is not û and no share was given, or is far from û with one.
    OptionError
        If share is not above 0 and at most 1.

    Examples
    --------
    >>> M = np.random.default_rng(1).integers(0, 3, (30, 8))
    >>> genotypes = rb.Genotypes.from_matrix(M, ids=[f"i{k}" for k in range(30)])
    >>> records = pd.DataFrame({"y": M @ np.arange(8.0) + np.arange(30) % 3, "id": genotypes.ids})
    >>> gblup = rb.MixedModel("y ~ 1 + (1 | vm(id, G))", records, {"G": rb.genomic_relationship(genotypes)}).fit()
    >>> len(rb.snp_effects(gblup, "vm(id, G)", genotypes))
    8
    """
    choose("method", method, METHODS)
    genotypes = as_genotypes(genotypes)
    if share is not None and (isinstance(share, bool) or not isinstance(share, (int, float)) or not 0.0 < share <= 1.0):
        raise OptionError(
            f"share={share!r} must be above 0 and at most 1: the part of K that the markers make up, 0.95 for"
            " 0.95 G + 0.05 A22."
        )
    k = term_index(fit.specification, term)
    design = fit.specification.random[k]
    i = effect_index(design.structure.effects, effect, design.name, OptionError)
    if isinstance(design.relationship, SingleStep):
        raise RelationshipError(
            f"marker effects of single-step are not available: the relationship of '{design.name}' holds animals that"
            " are not genotyped. K must hold genotyped levels only: fit the genotyped animals with"
            " rb.genomic_relationship(genotypes), blended if need be."
        )
    absent = match(genotypes.ids, design.relationship.labels) < 0
    if absent.any():
        raise RelationshipError(
            f"of the levels of '{design.name}' {count(int(absent.sum()), 'level', 'has', 'have')} no genotypes: "
            f"{some(design.relationship.labels[absent])}."
        )
    code = coding(genotypes, method, frequencies)
    factor = (1.0 if share is None else float(share)) / code.divisor
    own = genotypes.select(ids=design.relationship.labels)
    solved = inverse_times_blup(fit, k)[i]
    spread = _spread(fit, k, i) if p_values else None
    # A column of Z per copy of the allele: 1 but for scaled codes.
    slope = code.table[:, 1] - code.table[:, 0] if method in ("vanraden2", "yang") else np.ones(len(code.table))
    report = reporter(progress)
    alpha, variance, value = np.empty(len(slope)), np.empty(len(slope)), np.zeros(design.q)
    for place, values in own.blocks(block_size(own, block)):
        Z = coded(values, code.table[place])
        scaled = factor * (Z.T @ solved)
        alpha[place] = scaled * slope[place]
        value += Z @ scaled
        if spread is not None:
            variance[place] = (factor * slope[place]) ** 2 * _quadratic_forms(Z, spread)
        if report is not None:
            report(place.stop, len(slope))
    recovered = _recovered(fit.blup(term).iloc[:, i].to_numpy(), value, share is None, design.name)
    table = pd.DataFrame(
        {"marker": genotypes.markers, "frequency": genotypes.allele_frequencies.to_numpy(), "effect": alpha}
    )
    if spread is not None:
        _add_tests(table, variance)
    table.attrs["recovered"] = recovered
    return table


def inverse_times_blup(fit: Solved, k: int) -> Array:
    """K⁻¹û of a term, (t, q): (Σ ⊗ I) Z'Py, for û = (Σ ⊗ K) Z'Py; K need not have an inverse."""
    design = fit.specification.random[k]
    with fit._lock.now:
        Py = fit._solution.weighted_residual[: fit.n_obs]
    return _sigma(fit, k) @ np.array([Z.T @ Py for Z in design.columns])


def _sigma(fit: Solved, k: int) -> Array:
    part = fit.specification.parameters.split(fit.theta)[k]
    return np.asarray(fit.specification.random[k].structure.covariance(part))


def _spread(fit: Solved, k: int, i: int) -> Array:
    """var(K⁻¹û_i) = L P L' with L = Σ_j Σ_ij Z_j', (q, q)."""
    equations, solution = fit._equations, fit._solution
    design = fit.specification.random[k]
    L = sum(s * Z for s, Z in zip(_sigma(fit, k)[i], design.columns, strict=True)).tocsc()
    out = np.empty((design.q, design.q))
    for start in range(0, design.q, CHUNK):
        part = slice(start, min(start + CHUNK, design.q))
        with fit._lock.now:
            out[:, part] = L.T @ equations.respond(solution, L[:, part].toarray())[1]
    return 0.5 * (out + out.T)


def _quadratic_forms(Z: Array, S: Array) -> Array:
    """z'Sz of every column of Z."""
    parts = [(Z[:, start : start + _COLUMNS],) for start in range(0, Z.shape[1], _COLUMNS)]
    return np.concatenate(side_by_side(lambda part: np.einsum("ij,ij->j", part, S @ part), parts))


def _recovered(blup: Array, value: Array, exact: bool, name: str) -> float:
    """Squared correlation of Zα̂ with û; refuses markers that are not those of K."""
    largest = float(np.max(np.abs(blup), initial=0.0))
    if exact and float(np.max(np.abs(value - blup))) > _AGREE * largest:
        raise ModelError(
            f"these genotypes do not make up the relationship of '{name}': the markers' effects do not add up to û."
            " Give the method and frequencies that K was made with; if K was blended or tuned, say which share of it"
            " the markers are, share=0.95 for 0.95 G + 0.05 A22."
        )
    if largest == 0.0 or np.ptp(blup) == 0.0:
        return float("nan")
    squared = float(np.corrcoef(value, blup)[0, 1] ** 2) if np.ptp(value) > 0.0 else 0.0
    if not squared >= _RECOVERED:
        raise ModelError(
            f"these markers account for too little of '{name}': the squared correlation of the sum of their effects"
            f" with û is {squared:.3f}, below {_RECOVERED:g}. Are these the genotypes, method and frequencies that K"
            " was made with, and does share= say how much of K they make up?"
        )
    return squared


def _add_tests(table: pd.DataFrame, variance: Array) -> None:
    from scipy.stats import norm

    # A marker without variation has an effect and a variance of zero, and no test.
    tested = variance > 1e-14 * np.max(variance, initial=0.0)
    table["variance"] = variance
    table["z"] = np.where(tested, table["effect"] / np.sqrt(np.where(tested, variance, 1.0)), np.nan)
    table["p_value"] = 2.0 * norm.sf(np.abs(table["z"]))
