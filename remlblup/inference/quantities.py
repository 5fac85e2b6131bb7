"""What intervals and profiles are asked for: parameters by their labels, and functions of them, with their slopes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from remlblup.arrays import Array
from remlblup.errors import OptionError, some
from remlblup.fit.estimates import Estimates
from remlblup.fit.tables.functions import compiled, quantities, read
from remlblup.model.formula import squeeze


@dataclass(frozen=True)
class Function:
    """A function of θ: its value and slope (n_parameters,).

    Attributes
    ----------
    name : as it was asked for
    index : number of the parameter, where it is one
    """

    name: str
    at: Callable[[Array], tuple[float, Array]]
    index: int | None = None


def parameter_function(name: str, index: int, n: int) -> Function:
    """θ_i itself."""
    slope = np.eye(1, n, index)[0]
    return Function(name, lambda theta: (float(theta[index]), slope), index)


def expression_function(fit: Estimates, expression: str) -> Function:
    """An expression as of `function`, slopes by complex steps."""
    parameters = fit.specification.parameters
    code, variables = read(expression, parameters)
    run = compiled(code, expression)

    def at(theta: Array) -> tuple[float, Array]:
        used = quantities(variables, parameters, expression, theta)
        values = {name: complex(q.value) for name, q in used.items()}
        slope = np.zeros(len(theta))
        try:
            with np.errstate(all="ignore"):
                there = run(values)
                value = there.real if abs(there.imag) <= 1e-12 * abs(there) else np.nan
                for name, quantity in used.items():
                    step = 1e-20 * max(abs(quantity.value), 1e-100)
                    slope += run(values | {name: values[name] + 1j * step}).imag / step * quantity.gradient
        except (OverflowError, ZeroDivisionError):
            return np.nan, slope
        return float(value), slope

    return Function(expression, at)


def labelled(fit: Estimates, name: object) -> int | None:
    """Number of the parameter with this label, however it is spaced; None if there is none."""
    labels = {squeeze(label): k for k, label in enumerate(fit.specification.parameters.columns)}
    return labels.get(squeeze(name)) if isinstance(name, str) else None


def free_parameter(fit: Estimates, name: object) -> int:
    """Number of a parameter that the fit has estimated, by its label.

    Raises
    ------
    OptionError
    """
    k = labelled(fit, name)
    if k is None:
        raise OptionError(
            f"{name!r} is not a parameter of this model. It has {some(fit.specification.parameters.columns, 20)}."
        )
    require_free(fit, k)
    return k


def require_free(fit: Estimates, k: int) -> None:
    """Raise `OptionError` for a parameter that is held."""
    if fit.status[k] == "fixed":
        name = fit.specification.parameters.columns[k]
        raise OptionError(f"'{name}' is held by fix=: the likelihood has not been looked at along it.")
