"""Approximate reliabilities of an animal model, in time proportional to the pedigree.

Information about an animal is counted in records (effective numbers of its own records) and passed along the pedigree
(Misztal & Wiggans 1988, J. Dairy Sci. 71, Suppl. 2:27; Meyer 1989, Livest. Prod. Sci. 21:87). In units of σ²_a, with
λ = σ²_e/σ²_a and R the reliability without the information that is being passed:

- d records measure a with error variance λ/d;
- a progeny, whose own information measures its a_i with error variance v_i, measures its sire with error variance
  (1 − R_dam) + 4 m_i + 4 v_i, m_i its Mendelian sampling variance: a_i = ½(sire + dam) + Mendelian sampling;
- parents with prediction error variances V leave an animal the prior variance a_ii − ¼Σ_p (a_pp − V_p): what they tell
  of it lowers its own variance a_ii = 1 + F.

Information is passed up the pedigree, youngest first, and then down. What is ignored: that mates and relatives share
information of other animals, and what fixed effects confound between animals.
"""

from __future__ import annotations

import numpy as np

from remlblup.errors import OptionError

# Rounds of passing mates' reliabilities; they change in the third digit after the first.
ROUNDS = 3


def approximate_reliabilities(
    sire: np.ndarray,
    dam: np.ndarray,
    mendelian: np.ndarray,
    diagonal: np.ndarray,
    information: np.ndarray,
    ratio: float,
) -> np.ndarray:
    """Approximate reliabilities, (n,).

    Parameters
    ----------
    sire, dam : (n,) positions of the parents, −1 for unknown, parents before offspring
    mendelian : (n,) Mendelian sampling variances in units of σ²_a
    diagonal : (n,) a_ii = 1 + F
    information : (n,) effective numbers of records of each animal
    ratio : λ = σ²_e/σ²_a

    Raises
    ------
    OptionError
        If the ratio is not positive.
    """
    if not 0.0 < ratio < np.inf:
        raise OptionError(f"the ratio of variances, {ratio!r}, must be positive: approximate reliabilities need both.")
    own = np.asarray(information, dtype=float) / ratio  # precision of the estimate from the records
    by_generation = generations_of(sire, dam)
    reliability = np.zeros(len(sire))
    for _ in range(ROUNDS):
        gathered, passed = gather(sire, dam, mendelian, diagonal, own, reliability, by_generation)
        reliability = hand_down(sire, dam, mendelian, diagonal, gathered, passed, by_generation)
    return reliability


def generations_of(sire: np.ndarray, dam: np.ndarray) -> list[np.ndarray]:
    """Animals by generation: parents always in an earlier one."""
    from remlblup.relationship.descent.genealogy import generations

    generation = generations(sire, dam)
    order = np.argsort(generation, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(generation[order])) + 1)


def gather(
    sire: np.ndarray,
    dam: np.ndarray,
    mendelian: np.ndarray,
    diagonal: np.ndarray,
    own: np.ndarray,
    reliability: np.ndarray,
    by_generation: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Precision of each animal from its records and progeny, (n,), and what it passed to its sire and dam, (2, n)."""
    gathered, passed = own.copy(), np.zeros((2, len(own)))
    for animals in reversed(by_generation):
        informative = animals[gathered[animals] > 0.0]
        error = mendelian[informative] + 1.0 / gathered[informative]
        for side, (parent, mate) in enumerate(((sire, dam), (dam, sire))):
            known = parent[informative] >= 0
            i, other = informative[known], mate[informative[known]]
            left = np.where(
                other >= 0, (1.0 - reliability[other]) * diagonal[other], 0.0
            )  # of an unknown parent it is in `mendelian`
            passed[side, i] = 1.0 / (left + 4.0 * error[known])
            np.add.at(gathered, parent[i], passed[side, i])
    return gathered, passed


def hand_down(
    sire: np.ndarray,
    dam: np.ndarray,
    mendelian: np.ndarray,
    diagonal: np.ndarray,
    gathered: np.ndarray,
    passed: np.ndarray,
    by_generation: list[np.ndarray],
) -> np.ndarray:
    """Reliabilities from the parents', free of what the animal itself told them, and its own information."""
    precision = np.zeros(len(gathered))  # of a given everything
    for animals in by_generation:
        prior = diagonal[animals].copy()
        for side, parent in enumerate((sire, dam)):
            known = parent[animals] >= 0
            i = animals[known]
            left = 1.0 / np.maximum(precision[parent[i]] - passed[side, i], 1e-12)
            prior[known] -= 0.25 * np.maximum(diagonal[parent[i]] - left, 0.0)
        precision[animals] = 1.0 / np.maximum(prior, mendelian[animals]) + gathered[animals]
    return np.clip(1.0 - 1.0 / (precision * diagonal), 0.0, 1.0)
