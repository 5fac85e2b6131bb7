"""What formulas make of one covariate or factor: formulaic's transforms, and ours, normalised Legendre polynomials."""

from __future__ import annotations

from typing import Any

import numpy as np
from formulaic.materializers.types import FactorValues
from formulaic.transforms import C, basis_spline, center, cyclic_cubic_spline, natural_cubic_spline, poly, scale
from formulaic.transforms.contrasts import ContrastsRegistry
from formulaic.transforms.patsy_compat import standardize
from formulaic.utils.stateful_transforms import stateful_transform

from remlblup.errors import DataError, FormulaError
from remlblup.model.frame import numeric_values


@stateful_transform
def leg(x: Any, order: int = 1, lower: float | None = None, upper: float | None = None, _state: Any = None) -> Any:
    """Normalised Legendre polynomials φ_0 … φ_order of x: φ_j(z) = √((2j + 1)/2) P_j(z).

    z is x mapped linearly to [−1, 1] from [lower, upper], by default the range of the data of
    the fit, which is kept for new data (beyond it the polynomials go on). The columns are
    ``leg0``, ``leg1``, …; beside an intercept of the fixed part the constant ``leg0`` is left out.
    """
    values = numeric_values(x, "covariate of leg()")
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 0:
        raise FormulaError(f"leg(x, {order!r}): the order must be a whole number, 0 or more.")
    if "range" not in _state:
        low = float(values.min()) if lower is None else float(lower)
        high = float(values.max()) if upper is None else float(upper)
        if not low < high:
            raise DataError(f"leg() maps [{low:g}, {high:g}] to [-1, 1]: give a covariate that varies, lower < upper.")
        if values.min() < low or values.max() > high:
            raise DataError(
                f"leg(): the data range from {values.min():g} to {values.max():g}, outside lower={low:g}, "
                f"upper={high:g}."
            )
        _state["range"] = (low, high)
    columns = legendre(values, order, *_state["range"])
    fields = {f"leg{j}": columns[:, j] for j in range(order + 1)}
    return FactorValues(fields, kind="numerical", spans_intercept=True, drop_field="leg0")


def legendre(x: np.ndarray, order: int, lower: float, upper: float) -> np.ndarray:
    """φ_0 … φ_order at x, shape (n, order + 1)."""
    z = 2.0 * (np.asarray(x, dtype=np.float64) - lower) / (upper - lower) - 1.0
    P = np.polynomial.legendre.legvander(z, order)
    return P * np.sqrt((2.0 * np.arange(order + 1) + 1.0) / 2.0)


def ns(
    x: Any,
    df: int | None = None,
    knots: Any = None,
    lower_bound: float | None = None,
    upper_bound: float | None = None,
    **memory: Any,
) -> Any:
    """A natural cubic spline without the constant, as R's: it spans the same functions, in another basis."""
    return natural_cubic_spline(x, df, knots, lower_bound, upper_bound, constraints="center", **memory)


ns.__is_stateful_transform__ = True  # type: ignore[attr-defined]

# By their names in `functions.TRANSFORMS`.
TRANSFORMS: dict[str, Any] = {
    "C": C,
    "factor": C,
    "as.factor": C,
    "bs": basis_spline,
    "cc": cyclic_cubic_spline,
    "cr": natural_cubic_spline,
    "cs": natural_cubic_spline,
    "ns": ns,
    "poly": poly,
    "center": center,
    "scale": scale,
    "standardize": standardize,
    "leg": leg,
}
CONTRASTS: dict[str, Any] = {
    name: getattr(ContrastsRegistry, name) for name in ("treatment", "SAS", "sum", "helmert", "diff", "poly")
}
