"""What a pedigree tells about a population: depth, completeness, inbreeding, effective sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np
import pandas as pd

from remlblup.errors import OptionError, PedigreeError, count, some
from remlblup.linalg.interrupts import interrupted_as_such
from remlblup.linalg.memory import all_within_memory
from remlblup.relationship.descent import numerator
from remlblup.relationship.descent.genealogy import ancestors
from remlblup.relationship.labels import match

#: Ancestors that the effective number of ancestors looks at.
_MOST_ANCESTORS = 1000


class Population(Protocol):
    """What is asked of a pedigree here."""

    labels: np.ndarray
    sire: np.ndarray
    dam: np.ndarray
    selfing: np.ndarray | None

    @property
    def size(self) -> int: ...
    @property
    def inbreeding(self) -> np.ndarray: ...
    @property
    def generation(self) -> np.ndarray: ...
    @property
    def _true_variance(self) -> np.ndarray: ...
    def index(self, labels: Iterable) -> np.ndarray: ...


@all_within_memory
class PopulationStatistics:
    """The methods of a `Pedigree` that describe the population."""

    def statistics(self: Population, by: object | None = None) -> pd.Series | pd.DataFrame:
        """Numbers of animals, parents and founders, depth and inbreeding, over all or by group.

        Parameters
        ----------
        by : "generation", mapping, Series or array-like of shape (n,), optional
            A table with a row per generation, or per value given, such as years of birth: an array in the order of
            `labels`, or a mapping or Series (label → value). Animals whose value is missing are left out.

        Raises
        ------
        OptionError
            If there is not one value for every animal.
        """
        return statistics(self, by)

    def completeness(self: Population, depth: int = 5) -> pd.DataFrame:
        """Depth and completeness of every animal's pedigree.

        Parameters
        ----------
        depth : int
            Generations d the index looks at.

        Returns
        -------
        pandas.DataFrame, n rows
            ``maximum_generations``, ``complete_generations`` (fully known), ``equivalent_generations`` (Maignel et
            al. 1996), ``index`` = 2 C_s C_d / (C_s + C_d), C the mean share of known ancestors of the sire's and of
            the dam's side over d generations (MacCluer et al. 1983, J Hered 74:394), and ``known_1`` to ``known_d``,
            the shares of known ancestors by generation.
        """
        return completeness(self, depth)

    def effective_size(self: Population, animals: Iterable | None = None) -> pd.Series:
        """Effective population size, and effective numbers of founders, ancestors and founder genomes.

        Parameters
        ----------
        animals : array-like of labels, optional
            The reference population; all animals without offspring by default.

        Returns
        -------
        pandas.Series
            ``effective_size`` = 1/(2ΔF) from the mean individual increase in inbreeding ΔF_i = 1 − (1 − F_i)^(1/(t_i
            − 1)), t_i > 1 the equivalent generations, with its standard error (Gutiérrez et al. 2009, Genet Sel Evol
            41:51, without counting selfing); ``effective_size_regression`` from the slope of log(1 − F) on t;
            ``effective_founders`` = 1/Σp² and ``effective_ancestors`` (Boichard et al. 1997, Genet Sel Evol 29:5, the
            first 1000 ancestors); ``founder_genome_equivalents`` = 1/(2 c̄), c̄ the mean coancestry (Caballero & Toro
            2000, Genet Res 75:331).

        Raises
        ------
        PedigreeError
            If `animals` is empty or not in the pedigree, or rows have generations of selfing.
        """
        return effective_size(self, animals)


def born_together(generation: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of the animals of each generation, founders first."""
    order = np.argsort(generation, kind="stable")
    yield from np.split(order, np.cumsum(np.bincount(generation))[:-1])


def equivalent_generations(sire: np.ndarray, dam: np.ndarray) -> np.ndarray:
    """Equivalent complete generations, Σ (½)^k over known ancestors k generations back, shape (n,).

    Maignel, Boichard & Verrier 1996, Interbull Bull 14:49.
    """
    known = 0.5 * ((sire >= 0) + 0.0 + (dam >= 0))
    return numerator.pass_down(sire, dam, known[:, None]).ravel()


def completeness(pedigree: Population, depth: int) -> pd.DataFrame:
    """See `PopulationStatistics.completeness`."""
    if depth != int(depth) or depth < 1:
        raise OptionError(f"depth={depth!r} must be 1, 2, … generations.")
    sire, dam = pedigree.sire, pedigree.dam
    known = np.append(np.ones(pedigree.size), 0.0)  # the last entry is where −1 looks
    share, line = known.copy(), {"sire": known[sire].copy(), "dam": known[dam].copy()}
    columns = {}
    for back in range(1, int(depth) + 1):
        share = np.append(0.5 * (share[sire] + share[dam]), 0.0)
        columns[f"known_{back}"] = share[:-1]
        if back < depth:
            line["sire"] += share[sire]
            line["dam"] += share[dam]
    paternal, maternal = line["sire"] / depth, line["dam"] / depth
    with np.errstate(invalid="ignore"):
        index = np.nan_to_num(2.0 * paternal * maternal / (paternal + maternal))
    complete = np.zeros(pedigree.size + 1)
    complete[-1] = -1.0
    for born in born_together(pedigree.generation):
        complete[born] = 1.0 + np.minimum(complete[sire[born]], complete[dam[born]])
    return pd.DataFrame(
        {
            "maximum_generations": pedigree.generation,
            "complete_generations": complete[:-1].astype(int),
            "equivalent_generations": equivalent_generations(sire, dam),
            "index": index,
            **columns,
        },
        index=pd.Index(pedigree.labels, name="id"),
    )


def statistics(pedigree: Population, by: object | None) -> pd.Series | pd.DataFrame:
    """See `PopulationStatistics.statistics`."""
    sire, dam, F = pedigree.sire, pedigree.dam, pedigree.inbreeding
    depth = equivalent_generations(sire, dam)
    if by is not None:
        group = _groups_of(pedigree, by)
        if group.shape != (pedigree.size,):
            raise OptionError(
                f'by= takes "generation", or one value for each of the {pedigree.size:,} animals, '
                "in the order of `labels` or as a Series by label."
            )
        table = pd.DataFrame({"F": F, "inbred": F > 0, "depth": depth, "sire": sire, "dam": dam}).groupby(group)
        return pd.DataFrame(
            {
                "animals": table.size(),
                "sires": table["sire"].agg(lambda parents: parents[parents >= 0].nunique()),
                "dams": table["dam"].agg(lambda parents: parents[parents >= 0].nunique()),
                "inbred_share": table["inbred"].mean(),
                "mean_inbreeding": table["F"].mean(),
                "maximum_inbreeding": table["F"].max(),
                "equivalent_generations": table["depth"].mean(),
            }
        ).rename_axis("generation" if isinstance(by, str) else getattr(by, "name", None))
    both = (sire >= 0) & (dam >= 0)
    parents = np.union1d(sire[sire >= 0], dam[dam >= 0])
    return pd.Series(
        {
            "animals": pedigree.size,
            "founders": int(((sire < 0) & (dam < 0)).sum()),
            "one_parent_known": int(((sire >= 0) ^ (dam >= 0)).sum()),
            "sires": np.unique(sire[sire >= 0]).size,
            "dams": np.unique(dam[dam >= 0]).size,
            "without_offspring": pedigree.size - parents.size,
            "full_sib_families": len(np.unique(np.column_stack([sire[both], dam[both]]), axis=0)),
            "generations": int(pedigree.generation.max()),
            "equivalent_generations": depth.mean(),
            "inbred": int((F > 0).sum()),
            "inbred_share": (F > 0).mean(),
            "mean_inbreeding": F.mean(),
            "mean_inbreeding_of_inbred": F[F > 0].mean() if (F > 0).any() else 0.0,
            "maximum_inbreeding": F.max(),
        },
        dtype=object,
    )


def _groups_of(pedigree: Population, by: object) -> np.ndarray:
    """The group of every animal, in the order of the pedigree's labels."""
    if isinstance(by, str) and by == "generation":
        return pedigree.generation
    if not isinstance(by, Mapping | pd.Series):
        return np.asarray(by)
    series = pd.Series(by)
    at = match(series.index, pedigree.labels)
    if (at < 0).any():
        raise OptionError(
            f"by= has no value for {count(int((at < 0).sum()), 'animal')}: {some(pedigree.labels[at < 0])}."
            " The index of a Series names the animals; give by.to_numpy() for values in the order of `labels`."
        )
    return series.to_numpy()[at]


def effective_size(pedigree: Population, animals: Iterable | None) -> pd.Series:
    """See `PopulationStatistics.effective_size`."""
    if pedigree.selfing is not None:
        raise PedigreeError(
            "Effective sizes are not computed for rows with generations of selfing, whose inbreeding is not that of a "
            "population: leave selfing= out, or give the intermediate plants rows of their own."
        )
    if animals is None:
        parent = np.zeros(pedigree.size + 1, dtype=bool)
        parent[pedigree.sire] = parent[pedigree.dam] = True
        reference = np.flatnonzero(~parent[:-1])
    else:
        reference = np.unique(pedigree.index(animals))
    if not reference.size:
        raise PedigreeError("animals= is empty: name the animals of the reference population.")
    depth = equivalent_generations(pedigree.sire, pedigree.dam)
    deep = reference[depth[reference] > 1.0]
    rate = 1.0 - (1.0 - pedigree.inbreeding[deep]) ** (1.0 / (depth[deep] - 1.0))
    mean = rate.mean() if deep.size else np.nan
    spread = rate.std(ddof=1) / np.sqrt(deep.size) if deep.size > 1 else np.nan
    size = _half_inverse(mean)
    kept = np.flatnonzero(ancestors(pedigree.sire, pedigree.dam, reference))
    place = np.full(pedigree.size + 1, -1, dtype=np.int32)
    place[kept] = np.arange(kept.size, dtype=np.int32)
    sire, dam = place[pedigree.sire[kept]], place[pedigree.dam[kept]]
    weight = np.zeros(kept.size)
    weight[place[reference]] = 1.0 / reference.size
    founders = founder_shares(sire, dam, weight)
    shares = ancestor_shares(sire, dam, weight)
    kinship = weight @ numerator.multiply(sire, dam, pedigree._true_variance[kept], weight)
    return pd.Series(
        {
            "animals": reference.size,
            "animals_deeper_than_one_generation": deep.size,
            "mean_inbreeding": pedigree.inbreeding[reference].mean(),
            "equivalent_generations": depth[reference].mean(),
            "increase_in_inbreeding": mean,
            "effective_size": size,
            "effective_size_std_error": 2.0 * size**2 * spread if np.isfinite(size) else np.nan,
            "effective_size_regression": _regression(pedigree.inbreeding[reference], depth[reference]),
            "effective_founders": 1.0 / np.sum(founders**2),
            "effective_ancestors": 1.0 / np.sum(shares**2),
            "founder_genome_equivalents": 1.0 / kinship,
        }
    )


def founder_shares(sire: np.ndarray, dam: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Expected share of each founder in the genes of the reference population; an unknown parent is one founder."""
    passed = numerator.pass_up(sire, dam, weight[:, None]).ravel()
    founder = (sire < 0) & (dam < 0)
    half = (sire < 0) ^ (dam < 0)
    return np.concatenate([passed[founder], 0.5 * passed[half]])


@interrupted_as_such
def ancestor_shares(sire: np.ndarray, dam: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Marginal contributions of the most important ancestors (Boichard et al. 1997); an unknown parent is one."""
    from remlblup.relationship.descent.statistics_kernels import marginal_contributions

    taken = marginal_contributions(sire, dam, weight, min(_MOST_ANCESTORS, len(sire)))
    childless = np.ones(len(sire) + 1, dtype=bool)
    childless[sire] = childless[dam] = False
    own = np.where(childless[:-1], weight, 0.0)
    founder, half = (sire < 0) & (dam < 0), (sire < 0) ^ (dam < 0)
    return np.concatenate([taken, own[founder & (own > 0)], 0.5 * own[half & (own > 0)]])


def _regression(F: np.ndarray, depth: np.ndarray) -> float:
    """Effective size from the slope of log(1 − F) on equivalent generations."""
    usable = F < 1.0
    centred = depth[usable] - depth[usable].mean() if usable.any() else np.zeros(0)
    if not (centred**2).sum() > 0:
        return np.nan
    slope = centred @ np.log1p(-F[usable]) / (centred**2).sum()
    return _half_inverse(-np.expm1(slope))


def _half_inverse(rate: float) -> float:
    """1/(2ΔF); infinite without an increase in inbreeding."""
    return np.inf if rate <= 0 else 1.0 / (2.0 * rate)
