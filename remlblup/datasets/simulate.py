"""A simulated flock of sheep with overlapping generations, for demonstrations, tests and benchmarks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from remlblup.errors import OptionError
from remlblup.keywords import known_arguments

_FIRST_YEAR = 2001
_LITTERS = np.array([1, 2, 3]), np.array([0.55, 0.40, 0.05])
_EWE_AGES, _RAM_AGES = 5, 3
_EWES_PER_RAM = 25
_MEAN, _MALE, _TWIN = 25.0, 2.0, -2.5  # kg: weaning weight, ram lambs, lambs of a litter


@dataclass(frozen=True)
class Flock:
    """A simulated flock.

    Attributes
    ----------
    data : pandas.DataFrame
        One row per record: ``id, sex, group, litter, dam, y``.
    pedigree : pandas.DataFrame
        One row per animal, parents first: ``id, sire, dam``, 0 for unknown.
    truth : dict
        ``variances`` (a dict: ``additive``, ``maternal``, ``residual``), ``h2``, ``fixed`` (a dict of true
        effects), ``breeding_values`` and ``inbreeding`` (Series by animal), ``maternal_effects`` (Series by
        ewe), ``group_effects`` (Series by group).
    """

    data: pd.DataFrame
    pedigree: pd.DataFrame
    truth: dict


@known_arguments
def simulate_flock(
    n_animals: int = 1500,
    *,
    n_years: int = 8,
    n_groups: int = 3,
    h2: float = 0.35,
    maternal: float = 0.10,
    phenotypic_sd: float = 4.0,
    group_sd: float = 1.5,
    recorded: float = 0.92,
    unknown_sires: float = 0.03,
    seed: int = 20240229,
) -> Flock:
    """Simulate weaning weights in a flock that breeds for some years.

    **Pedigree.** An eighth of the animals are unrelated founders, one in ten of them a ram. Every year ewes
    one to five years old are drawn at random to lamb, each put to a ram one to three years old (one ram for
    25 ewes), and bear one to three lambs (55, 40 and 5 %). Mating is at random, so that relatives meet and
    inbreeding builds up. The sires of a few lambs go unrecorded.

    **Records.** y = 25 + 2 (ram lambs) − 2.5 (lambs of a litter) + group + u + m + e. Groups (a year and one
    of `n_groups` mobs of ewes) are N(0, group_sd²); m ~ N(0, σ²m) is the permanent effect of the ewe on her
    lambs; e ~ N(0, σ²e). σ²a = h2·V, σ²m = maternal·V, σ²e = V − σ²a − σ²m with V = phenotypic_sd².

    **Breeding values.** u = ½u_sire + ½u_dam + φ with φ ~ N(0, σ²a·d) and d = ½ − ¼(F_sire + F_dam), so that
    u ~ N(0, A σ²a) exactly, inbreeding included (Mrode, Linear Models, section 2.3). A lamb whose sire is
    unrecorded gets the Mendelian variance of a lamb with one parent known: recorded pedigree and A agree.

    Parameters
    ----------
    n_animals : int
        Animals in the pedigree, founders included (at least 50). The number is met exactly.
    n_years : int
        Years of lambing.
    n_groups : int
        Contemporary groups in a year.
    h2, maternal : float
        Shares of the phenotypic variance that are additive genetic and due to the ewe; each at least 0, their
        sum below 1.
    phenotypic_sd, group_sd : float
    recorded : float
        Share of the lambs with a record, in (0, 1]. Founders have none.
    unknown_sires : float
        Share of the lambs without a recorded sire, in [0, 1].
    seed : int
        Seed of PCG64: the same seed gives the same flock.

    Returns
    -------
    Flock

    Raises
    ------
    OptionError
        For a number out of its range.

    Examples
    --------
    >>> rb.simulate_flock().data.shape
    (1203, 6)
    """
    _check(n_animals, n_years, n_groups, h2, maternal, phenotypic_sd, group_sd, recorded, unknown_sires)
    rng = np.random.Generator(np.random.PCG64(seed))
    year, male, sire, dam, twin = _breed(rng, n_animals, n_years)
    lamb = year > 0
    sire[lamb & (rng.random(n_animals) < unknown_sires)] = -1

    variance = phenotypic_sd**2
    additive, ewe = h2 * variance, maternal * variance
    residual = variance - additive - ewe
    u, inbreeding = _breeding_values(rng, sire, dam, year, additive)
    m = rng.normal(0.0, np.sqrt(ewe), n_animals)
    mob = rng.integers(n_groups, size=n_animals)[dam]
    group = np.where(lamb, (year - 1) * n_groups + mob, 0)
    effects = rng.normal(0.0, group_sd, n_years * n_groups)
    y = (
        _MEAN
        + _MALE * male
        + _TWIN * twin
        + effects[group]
        + u
        + m[dam]
        + rng.normal(0.0, np.sqrt(residual), n_animals)
    )

    kept = np.flatnonzero(lamb & (rng.random(n_animals) < recorded))
    group_names = np.array(
        [f"{_FIRST_YEAR + k}-{mob + 1}" for k in range(n_years) for mob in range(n_groups)], dtype=object
    )
    ids = np.arange(1, n_animals + 1)
    data = pd.DataFrame(
        {
            "id": ids[kept],
            "sex": np.array(["F", "M"], dtype=object)[male[kept].astype(int)],
            "group": group_names[group[kept]],
            "litter": np.array(["single", "multiple"], dtype=object)[twin[kept].astype(int)],
            "dam": dam[kept] + 1,
            "y": np.round(y[kept], 3),
        }
    )
    mothers = np.unique(dam[lamb])
    truth = {
        "variances": {"additive": additive, "maternal": ewe, "residual": residual},
        "h2": h2,
        "fixed": {"mean": _MEAN, "male": _MALE, "multiple": _TWIN},
        "breeding_values": pd.Series(u, index=pd.Index(ids, name="id")),
        "inbreeding": pd.Series(inbreeding, index=pd.Index(ids, name="id")),
        "maternal_effects": pd.Series(m[mothers], index=pd.Index(mothers + 1, name="dam")),
        "group_effects": pd.Series(effects, index=pd.Index(group_names, name="group")),
    }
    return Flock(data, pd.DataFrame({"id": ids, "sire": sire + 1, "dam": dam + 1}), truth)


def _check(
    n_animals: int,
    n_years: int,
    n_groups: int,
    h2: float,
    maternal: float,
    phenotypic_sd: float,
    group_sd: float,
    recorded: float,
    unknown_sires: float,
) -> None:
    rules = (
        ("n_animals", n_animals, n_animals >= 50, "at least 50"),
        ("n_years", n_years, n_years >= 1, "at least 1"),
        ("n_groups", n_groups, n_groups >= 1, "at least 1"),
        ("h2", h2, 0 <= h2 <= 1, "between 0 and 1"),
        ("maternal", maternal, 0 <= maternal <= 1, "between 0 and 1"),
        ("h2 + maternal", h2 + maternal, h2 + maternal < 1, "below 1"),
        ("phenotypic_sd", phenotypic_sd, phenotypic_sd > 0, "above 0"),
        ("group_sd", group_sd, group_sd >= 0, "at least 0"),
        ("recorded", recorded, 0 < recorded <= 1, "above 0 and at most 1"),
        ("unknown_sires", unknown_sires, 0 <= unknown_sires <= 1, "between 0 and 1"),
    )
    for name, value, holds, rule in rules:
        if not holds:
            raise OptionError(f"{name} must be {rule}; {value} was given.")


def _breed(rng: np.random.Generator, n: int, n_years: int) -> tuple[np.ndarray, ...]:
    """Year of birth (0 for founders), sex, sire, dam (−1 unknown) and whether born in a litter."""
    n_founders = max(n // 8, 12)
    year, male = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=bool)
    sire, dam = np.full(n, -1, dtype=np.int32), np.full(n, -1, dtype=np.int32)
    twin = np.zeros(n, dtype=bool)
    male[: max(n_founders // 10, 2)] = True
    cohorts = np.linspace(n_founders, n, n_years + 1).astype(int)
    for t, (first, last) in enumerate(pairwise(cohorts), start=1):
        born = slice(first, last)
        living = np.arange(first)
        # Founders serve until there are home-bred animals of breeding age.
        ewes = living[~male[:first] & (year[:first] >= (t - _EWE_AGES if t > 2 else 0))]
        rams = living[male[:first] & (year[:first] >= (t - _RAM_AGES if t > 2 else 0))]
        if not rams.size:  # a tiny flock may bear no ram lambs for years: keep the old rams
            rams = living[male[:first]]
        litter = rng.choice(_LITTERS[0], size=last - first, p=_LITTERS[1])
        litter = litter[: int(np.searchsorted(np.cumsum(litter), last - first)) + 1]
        # Few ewes for many lambs: some lamb twice a year rather than none be born.
        rounds = -(-litter.size // ewes.size)
        mothers = np.concatenate([rng.permutation(ewes) for _ in range(rounds)])[: litter.size]
        used = rng.choice(rams, size=min(rams.size, max(2, litter.size // _EWES_PER_RAM)), replace=False)
        fathers = rng.choice(used, size=litter.size)
        dam[born] = np.repeat(mothers, litter)[: last - first]
        sire[born] = np.repeat(fathers, litter)[: last - first]
        twin[born] = np.repeat(litter > 1, litter)[: last - first]
        male[born] = rng.random(last - first) < 0.5
        year[born] = t
    return year, male, sire, dam, twin


def _breeding_values(
    rng: np.random.Generator, sire: np.ndarray, dam: np.ndarray, year: np.ndarray, additive: float
) -> tuple[np.ndarray, np.ndarray]:
    """u ~ N(0, A σ²a) down the pedigree, a year's lambs at a time, and the inbreeding coefficients."""
    from remlblup.relationship.descent import numerator

    F = numerator.inbreeding(sire, dam)
    u = rng.standard_normal(len(sire))
    u *= np.sqrt(additive * numerator.mendelian_variance(sire, dam, F))
    bounds = np.searchsorted(year, np.arange(1, year[-1] + 2))
    for first, last in pairwise(bounds):
        born = np.arange(first, last)
        for parent in (sire, dam):
            known = born[parent[born] >= 0]
            u[known] += 0.5 * u[parent[known]]
    return u, F
