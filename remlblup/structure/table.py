"""Names of the structures as written in a formula, and the class of each."""

from __future__ import annotations

import inspect
import keyword as python

from remlblup.errors import OptionError
from remlblup.keywords import known_arguments
from remlblup.structure.base import Structure
from remlblup.structure.check import check_structure
from remlblup.structure.covariance.compound_symmetry import (
    CompoundSymmetry,
    CorrelationHeterogeneous,
    HeterogeneousCompoundSymmetry,
)
from remlblup.structure.covariance.diagonal import Diagonal
from remlblup.structure.covariance.factor_analytic import FactorAnalytic
from remlblup.structure.covariance.general_correlation import GeneralCorrelation, HeterogeneousGeneralCorrelation
from remlblup.structure.covariance.identity import Identity
from remlblup.structure.covariance.known import Known
from remlblup.structure.covariance.power import Autoregressive, Exponential, HeterogeneousAutoregressive
from remlblup.structure.covariance.reduced_rank import ReducedRank
from remlblup.structure.covariance.toeplitz import Toeplitz
from remlblup.structure.covariance.unstructured import Unstructured
from remlblup.structure.distance.base import Distance
from remlblup.structure.distance.exponential import Exponential as ExponentialOfPlaces
from remlblup.structure.distance.gaussian import Gaussian
from remlblup.structure.distance.linear import Linear
from remlblup.structure.distance.matern import Matern
from remlblup.structure.distance.rational import RationalQuadratic
from remlblup.structure.distance.spherical import Spherical

STRUCTURES: dict[str, type[Structure]] = {
    cls.keyword: cls
    for cls in (
        Identity,
        Diagonal,
        Unstructured,
        CompoundSymmetry,
        HeterogeneousCompoundSymmetry,
        CorrelationHeterogeneous,
        Autoregressive,
        HeterogeneousAutoregressive,
        Exponential,
        Toeplitz,
        GeneralCorrelation,
        HeterogeneousGeneralCorrelation,
        FactorAnalytic,
        ReducedRank,
        Known,
        Gaussian,
        Spherical,
        Linear,
        RationalQuadratic,
        Matern,
    )
}

# Those over places; `exp` of one covariate, a Markov chain, is the one above.
DISTANCES: dict[str, type[Distance]] = {
    cls.keyword: cls for cls in (ExponentialOfPlaces, Gaussian, Spherical, Linear, RationalQuadratic, Matern)
}

# Words of the formula that a structure of a user cannot take.
RESERVED = frozenset(STRUCTURES) | {
    "vm",
    "leg",
    "bs",
    "spl",
    "pspline",
    "power",
    "units",
    "residual",
    "trait",
    "c",
    "C",
}


@known_arguments
def register_structure(cls: type[Structure], **options: object) -> type[Structure]:
    """Make a covariance structure of your own known to the formula, as ``keyword(effects | group)``.

    The structure is tried first over three effects at 0, 1 and 2.5: sizes, bounds, derivatives against
    finite differences, `project` and the factor. A second class of the same keyword replaces the first.

    Parameters
    ----------
    cls : subclass of `Structure` with a `keyword`
    **options
        Values for that trial of options without a default.

    Returns
    -------
    cls, so that this serves as a decorator.

    Raises
    ------
    OptionError
        If the class is no structure, its keyword is taken, or the trial finds a mistake.

    Examples
    --------
    >>> from remlblup.structure.covariance.compound_symmetry import CompoundSymmetry
    >>> class Alike(CompoundSymmetry):
    ...     keyword = "alike"
    >>> rb.register_structure(Alike).keyword
    'alike'
    >>> rb.MixedModel("score ~ 1 + alike(Machine | Worker)", rb.datasets.load("machines")).fit().converged
    True
    """
    if not (inspect.isclass(cls) and issubclass(cls, Structure)):
        raise OptionError(f"register_structure takes a subclass of Structure, not {cls!r}.")
    word = getattr(cls, "keyword", None)
    if not isinstance(word, str) or not word.isidentifier() or python.iskeyword(word):
        raise OptionError(
            f"{cls.__name__}.keyword must be the name to write in a formula, such as keyword = 'matern'; "
            f"it is {word!r}."
        )
    if word in RESERVED:
        raise OptionError(f"the keyword '{word}' of {cls.__name__} is a word of remlblup's own: choose another one.")
    check_structure(cls, options)
    STRUCTURES[word] = cls
    return cls
