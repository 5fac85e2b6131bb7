"""Small classic data sets, and a simulator of an animal breeding flock.

=================  =====================================================================================
sleepstudy         Reaction times of 18 subjects over 10 days of sleep deprivation. Belenky et al. 2003,
                   J Sleep Res 12:1; R package lme4.
dyestuff           Yield of dyestuff from 6 batches. Davies & Goldsmith 1972, Statistical Methods in
                   Research and Production, 4th ed., p. 138; lme4 (Dyestuff).
dyestuff2          Simulated like dyestuff, with a batch variance estimated as zero. Box & Tiao 1973,
                   Bayesian Inference in Statistical Analysis, section 5.1.2; lme4 (Dyestuff2).
penicillin         Penicillin assay, 24 plates crossed with 6 samples. Davies & Goldsmith 1972, p. 161; lme4.
pastes             Strength of a paste by cask within batch. Davies & Goldsmith 1972, p. 136; lme4.
oats               Split-plot trial of 3 varieties and 4 nitrogen levels in 6 blocks. Yates 1935, J R Stat
                   Soc Suppl 2:181; R package nlme (Oats).
machines           Productivity of 6 workers on 3 machines. Milliken & Johnson 1992, Analysis of Messy Data
                   vol. 1, ch. 23; nlme (Machines).
orthodont          Dental distance of 27 children at four ages. Potthoff & Roy 1964, Biometrika 51:313; nlme.
rail               Travel time of an ultrasonic wave in 6 rails. Devore 2000, Probability and Statistics,
                   5th ed., example 10.10; nlme (Rail).
wheat2             Yields of 56 wheat varieties in 4 blocks, with the latitude and longitude of every plot.
                   Stroup, Baenziger & Mulitze 1994, Crop Sci 34:62; nlme (Wheat2).
mrode_weaning      Weaning gain (WWG) of five calves. Mrode, Linear Models for the Prediction of Animal
                   Breeding Values, example 3.1; pedigree from `mrode_pedigree`.
mrode_preweaning   Pre-weaning gain of the same calves. Mrode, 4th ed., section 17.7 (AI-REML by hand).
=================  =====================================================================================
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

from remlblup.datasets.simulate import Flock, simulate_flock
from remlblup.errors import choose

# Columns that are grouping factors, though their levels may look like numbers.
_FACTORS = {
    "sleepstudy": ["Subject"],
    "dyestuff": ["Batch"],
    "dyestuff2": ["Batch"],
    "penicillin": ["plate", "sample"],
    "pastes": ["batch", "cask", "sample"],
    "oats": ["Block", "Variety", "nitroF"],
    "machines": ["Worker", "Machine"],
    "orthodont": ["Subject", "Sex"],
    "rail": ["Rail"],
    "wheat2": ["Block", "variety"],
}
_CALVES = {"animal": [4, 5, 6, 7, 8], "sex": ["M", "F", "F", "M", "M"]}
_GAINS = {
    "mrode_weaning": [4.5, 2.9, 3.9, 3.5, 5.0],
    "mrode_preweaning": [2.6, 0.1, 1.0, 3.0, 1.0],
}


def names() -> list[str]:
    """Names that `load` knows."""
    return [*_FACTORS, *_GAINS]


def load(name: str) -> pd.DataFrame:
    """A data set as a new data frame, grouping factors as text.

    Parameters
    ----------
    name : str
        One of `names()`; the table at the top of this module tells what each one is and its source.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    OptionError
        If there is no such data set.
    """
    choose("name", name, names())
    if name in _GAINS:
        return pd.DataFrame({**_CALVES, "gain": _GAINS[name]})
    with resources.files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=dict.fromkeys(_FACTORS[name], str))


def mrode_pedigree() -> pd.DataFrame:
    """Pedigree of the calves in ``mrode_weaning`` and ``mrode_preweaning``: columns ``id, sire, dam``.

    Mrode, Linear Models for the Prediction of Animal Breeding Values, example 3.1: animals 1 to 3 are
    founders, the dam of calf 4 is unknown.
    """
    return pd.DataFrame(
        {
            "id": [1, 2, 3, 4, 5, 6, 7, 8],
            "sire": pd.array([None, None, None, 1, 3, 1, 4, 3], dtype="Int64"),
            "dam": pd.array([None, None, None, None, 2, 2, 5, 6], dtype="Int64"),
        }
    )


__all__ = ["Flock", "load", "mrode_pedigree", "names", "simulate_flock"]
