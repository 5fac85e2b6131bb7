"""The functions that an expression of a formula may call: one table, which `register_function` adds to.

Text is never code: what is not in this table is not called, whoever wrote the formula.
"""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from remlblup.errors import FormulaError, OptionError
from remlblup.keywords import known_arguments
from remlblup.model.other_words import ours

# Elementwise functions of numpy, written bare or behind ``np.``, with the numbers of arguments they take.
ONE_ARGUMENT = (
    "abs absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh deg2rad degrees exp exp2 expm1 fabs"
    " floor isfinite isnan log log10 log1p log2 logical_not negative rad2deg radians reciprocal rint sign sin sinh"
    " sqrt square tan tanh trunc"
)
TWO_ARGUMENTS = "arctan2 fmax fmin hypot logical_and logical_or logical_xor maximum minimum mod power"
NUMPY: dict[str, tuple[Callable, tuple[int, ...]]] = {
    **{name: (getattr(np, name), (1,)) for name in ONE_ARGUMENT.split()},
    **{name: (getattr(np, name), (2,)) for name in TWO_ARGUMENTS.split()},
    "round": (np.round, (1, 2)),
    "clip": (np.clip, (3,)),
    "where": (np.where, (3,)),
}
# Spellings of R and of formulaic that numpy has under another name.
ALSO: dict[str, tuple[Callable, tuple[int, ...]]] = {
    "ifelse": (np.where, (3,)),
    "exp10": (lambda x: np.power(10.0, x), (1,)),
    "asin": (np.arcsin, (1,)),
    "acos": (np.arccos, (1,)),
    "atan": (np.arctan, (1,)),
}
ELEMENTWISE = NUMPY | ALSO
NUMPY_NAMES = ("np", "numpy")
NUMBERS = {"pi": math.pi, "e": math.e}

SPLINE = ("df", "knots", "lower_bound", "upper_bound", "constraints", "extrapolation")
CODED = ("contrasts", "levels", "spans_intercept")
# What is made of one covariate or factor: the options of each, in their order. All options are constants.
TRANSFORMS: dict[str, tuple[str, ...]] = {
    "I": (),
    "C": CODED,
    "factor": CODED,
    "as.factor": CODED,
    "bs": ("df", "knots", "degree", "include_intercept", "lower_bound", "upper_bound", "extrapolation"),
    "cc": SPLINE,
    "cr": SPLINE,
    "cs": SPLINE,
    "ns": ("df", "knots", "lower_bound", "upper_bound"),
    "poly": ("degree", "raw"),
    "center": (),
    "scale": ("center", "scale", "ddof"),
    "standardize": ("center", "rescale", "ddof"),
    "leg": ("order", "lower", "upper"),
}
FACTORS = ("C", "factor", "as.factor")
# Options that count columns: there are no more of them than the covariate has values.
COUNTS = ("df", "degree", "order")
BOUNDS = ("lower_bound", "upper_bound", "lower", "upper")
# Those that are the order of a polynomial, and the largest.
ORDERS = ("degree", "order")
LARGEST_ORDER = 30
# Least df= of a basis; of bs() it is the degree, and one more with the intercept.
LEAST_DF = {"bs": 0, "ns": 2, "cr": 3, "cs": 3, "cc": 1}
# Codings of factors, as ``contr.sum`` or ``Sum``.
CONTRASTS = ("treatment", "SAS", "sum", "helmert", "diff", "poly")
WITH_REFERENCE = ("treatment", "SAS")
PATSY_CONTRASTS = {"Treatment": "treatment", "Sum": "sum", "Helmert": "helmert", "Diff": "diff", "Poly": "poly"}

ADVICE = {
    "offset": "offset(x) stands alone among the summands of the fixed part, as in 'y ~ x + offset(z)'",
    "vm": "write the random term as '(1 | vm(factor, NAME))'",
    "cbind": "several responses are written c(y1, y2) in front of '~'",
    "c": "several responses are written c(y1, y2) in front of '~'",
    "lag": "make the column of earlier values first, within each subject",
    "hashed": "make the column first, or register the function with rb.register_function",
    "cut": "make the column first, as with pandas.cut",
    "relevel": "write C(x, contr.treatment('level')) for another reference level",
    "ordered": "make the column an ordered pandas Categorical, or write C(x, contr.poly)",
    "as.numeric": "make the column a number first, as with pandas.to_numeric",
    "as.integer": "make the column a number first, as with pandas.to_numeric",
    "as.character": "write C(x) for a factor",
    "interaction": "write a:b for the combinations of two factors",
    "s": "write spl(x) for a smoothing spline",
    "te": "write pspline(x, z) for a smooth surface",
    "ti": "write pspline(x, z) for a smooth surface",
    "lo": "write spl(x) for a smoothing spline",
    "rcs": "write ns(x, df=4) or spl(x)",
    "Error": "write the strata as random terms, '(1 | block)'",
    "random": "write a random term as '(1 | g)'",
    "re": "write a random term as '(1 | g)'",
    "mean": "write center(x) for x less its mean, which new data keep",
    "std": "write scale(x), which new data keep",
    "sd": "write scale(x), which new data keep",
}


@dataclass
class _Registered:
    functions: dict[str, Callable] = field(default_factory=dict)


_registered = _Registered()


@known_arguments
def register_function(name: str, function: Callable) -> Callable:
    """Let formulas call a function of your own: ``rb.register_function("thi", f)``, then ``"y ~ thi(temp, hum)"``.

    Formulas call the functions of a table and no others; this adds one for the running session. A saved fit whose
    formula calls it needs it registered before `load`. It is called anew for new data: what it makes of a record must
    not depend on the other records.

    Parameters
    ----------
    name : str
        A plain name that is not in the table yet; one registered earlier is replaced.
    function : callable
        Takes columns (arrays) and constants and returns a value for each record, or a table of columns.

    Returns
    -------
    function

    Raises
    ------
    OptionError
        If the name is taken or is no name, or `function` cannot be called.

    Examples
    --------
    >>> halved = rb.register_function("halved", lambda x: x / 2)
    >>> rb.MixedModel("Reaction ~ halved(Days) + (1 | Subject)", sleep).fit().fixed_effects.index[1]
    'halved(Days)'
    """
    if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise OptionError(f"register_function: {name!r} must be a plain name, as it is written in the formula.")
    if not callable(function):
        raise OptionError(f"register_function('{name}', …) takes a function, not {function!r}.")
    if name in ELEMENTWISE or name in TRANSFORMS or name in PATSY_CONTRASTS or name in TAKEN:
        raise OptionError(f"the function '{name}' is one of remlblup's own: register yours under another name.")
    _registered.functions[name] = function
    return function


# Words that mean something else in a formula.
TAKEN = frozenset(("vm", "c", "cbind", "offset", "spl", "pspline", "Q", "np", "numpy", "contr", "trait", "units"))


def registered(name: str) -> Callable | None:
    """The user's function of this name."""
    return _registered.functions.get(name)


def unknown_function(name: str, where: str) -> FormulaError:
    """What to say of a call of something that is not in the table."""
    if advice := ADVICE.get(name.rpartition(".")[2] if name.startswith(NUMPY_NAMES) else name) or ours(name):
        return FormulaError(f"the function '{name}' in '{where}' is not known: {advice}.")
    return FormulaError(
        f"the function '{name}' in '{where}' is not known. Formulas call numpy's elementwise functions (log, sqrt,"
        f" exp, …), {', '.join(n for n in TRANSFORMS if n.isidentifier())}, and what rb.register_function adds."
    )
