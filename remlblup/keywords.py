"""Arguments that a function does not take: what was meant, in place of Python's TypeError."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from remlblup.errors import OptionError, some

F = TypeVar("F", bound=Callable[..., Any])

OF_MODEL = ("relationships", "residual", "weights", "missing", "engine", "device", "client", "data", "formula")
OF_FIT = (
    "method",
    "algorithm",
    "start",
    "fix",
    "constrain",
    "max_iterations",
    "tolerance",
    "progress",
    "starts",
    "checkpoint",
    "callback",
)
MEANT = {
    ("reml", "REML"): "method='REML' or method='ML' of fit()",
    ("maxiter", "max_iter", "maxit", "niter", "n_iter", "iterations", "maxiterations"): "max_iterations= of fit()",
    ("tol", "ftol", "gtol", "xtol", "eps", "epsilon", "toler", "tolParInv"): "tolerance= of fit()",
    ("verbose", "disp", "trace", "quiet", "silent"): "progress=True or progress=False of fit()",
    ("init", "inits", "initial", "starting", "start_values", "start_params"): "start= of fit()",
    ("optimizer", "optim", "solver"): "algorithm= of fit()",
    ("groups", "group", "re_formula", "vc_formula", "random", "exog_re"): "a random term in the formula, '(1 | g)'",
    ("fixed",): "the fixed part of the formula, 'y ~ x + …'",
    ("offset",): "offset(x) in the formula",
    ("family", "link"): "nothing: responses are normal here",
    ("subset",): "the rows themselves, as with data=data[…]",
    ("na_action", "dropna", "na_rm"): "missing='drop' or missing='error'",
    ("rcov", "R", "correlation", "residuals", "resid"): "residual=",
    ("pedigree", "ped", "ginverse", "kinship", "K", "A", "G", "relationship", "relmat"): "relationships={'A': …}",
    ("contrasts",): "the coding in the formula, 'C(x, contr.sum)'",
    ("df", "frame", "dataframe", "dat"): "data=",
    ("weight", "w"): "weights='column'",
}


def known_arguments(function: F) -> F:
    """Refuse arguments that the function does not take, and say which one was meant."""

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError:
            signature = inspect.signature(function)
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                raise OptionError(complaint(function, signature, args, kwargs)) from None
            raise

    return wrapped  # type: ignore[return-value]


def complaint(function: Callable, signature: inspect.Signature, args: tuple, kwargs: dict[str, Any]) -> str:
    """What is wrong with the arguments of a call."""
    first, _, last = function.__qualname__.partition(".")
    call = f"{first if last in ('', '__init__') else last}()"
    names = [n for n, p in signature.parameters.items() if n not in ("self", "cls") and p.kind is not p.VAR_KEYWORD]
    method = len(names) < len(signature.parameters) and next(iter(signature.parameters)) in ("self", "cls")
    if unknown := [k for k in kwargs if k not in names]:
        return (
            f"{call} takes no argument {some(f'{k}=' for k in unknown)}. {meant(unknown[0], names)}It takes: "
            f"{', '.join(names)}."
        )
    positions = [n for n in names if signature.parameters[n].kind is not inspect.Parameter.KEYWORD_ONLY]
    given = positions[: len(args) - method]
    if len(args) - method > len(positions):
        return (
            f"{call} has {len(args) - method} unnamed arguments and takes at most {len(positions)}: "
            f"{', '.join(positions)}."
        )
    if twice := [k for k in kwargs if k in given]:
        return f"{call} is given {some(twice)} twice, by position and by name."
    needed = [n for n in positions if signature.parameters[n].default is inspect.Parameter.empty]
    lacking = [n for n in needed if n not in given and n not in kwargs]
    return f"{call} needs {', '.join(f'{n}=' for n in lacking)}."


def meant(name: str, names: list[str]) -> str:
    """The argument of ours that a name of another program stands for, as a sentence."""
    plain = name.rstrip("_")
    for spellings, ours in MEANT.items():
        if plain in spellings or plain.lower() in spellings:
            return f"Write {ours}. "
    for owner, own in (("MixedModel()", OF_MODEL), ("fit()", OF_FIT)):
        if plain in own:
            return f"'{plain}=' is an argument of {owner}. "
    everywhere = {*names, *OF_MODEL, *OF_FIT}
    close = difflib.get_close_matches(plain.lower(), sorted(everywhere), 1, 0.7)
    if not close:
        return ""
    owner = "" if close[0] in names else " of fit()" if close[0] in OF_FIT else " of MixedModel()"
    return f"Write {close[0]}={owner}. "
