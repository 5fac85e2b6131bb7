"""``mat``: the Matérn function of smoothness ν.

    c = 2^(1−ν)/Γ(ν) x^ν K_ν(x),    x = √(2ν) h,

K_ν the modified Bessel function (Stein 1999, *Interpolation of Spatial Data*, section 2.10, with √(2ν) as in
Rasmussen & Williams 2006, section 4.2.1). ν = ½ is `exp` of the same range; for ν → ∞ it is `gau` of √2 the range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import gammaln, kve, psi

from remlblup.arrays import Array
from remlblup.errors import OptionError
from remlblup.structure.distance.base import Distance

# Smoothness beyond which no data tell it from `gau`, and up to which K_ν is taken from its recurrence.
SMOOTHEST, LARGE = 20.0, 60.0
# Up to here a given ν is one.
LARGEST = 1e6
# A smoothness below this is taken as that, and leaves no correlation.
LEAST = 1e-12
# x that is as good as infinite; what x exceeds 2ν by where c is below 1e-17.
FAR, NOTHING = 1e6, 45.0
# log K_ν(x) is an entire and even function of ν: central differences of sixth order at this step err by some 1e-14 by
# their remainder, h⁶/140 times the seventh derivative, and 1e-13 by rounding.
STEP, WEIGHTS = 0.02, ((1, 0.75), (2, -0.15), (3, 1.0 / 60.0))


class Matern(Distance):
    """Σ_ij = v c_ν(d_ij/φ), ν given or estimated.

    Parameters
    ----------
    nu : smoothness, if known
    """

    keyword = "mat"
    options = ("metric", "nu")
    on_earth = True

    def __init__(
        self,
        effects: Sequence[str],
        positions: Array | None = None,
        coordinates: Sequence[str] = (),
        metric: object = "isotropic",
        nu: object = None,
    ):
        if nu is not None and (
            isinstance(nu, bool) or not isinstance(nu, (int, float, np.number)) or not 0.0 < float(nu) <= LARGEST
        ):
            raise OptionError(f"nu={nu!r} must be the smoothness, a positive number such as 0.5 or 1.5.")
        self.nu = None if nu is None else float(nu)
        super().__init__(effects, positions, coordinates, metric)
        if metric == "earth" and self.nu is not None and self.nu > 0.5:
            raise OptionError(
                "'mat' with nu above 0.5 is no covariance on a sphere (Gneiting 2013): give nu=0.5 or less with"
                " metric=earth, or project the places onto a plane."
            )

    @property
    def shape_names(self) -> tuple[str, ...]:
        return ("nu",) if self.nu is None else ()

    @property
    def shape_upper(self) -> Array:
        return np.full(len(self.shape_names), 0.5 if self.metric.keyword == "earth" else SMOOTHEST)

    def first_shape(self) -> Array:
        return np.full(len(self.shape_names), 0.25 if self.metric.keyword == "earth" else 1.0)

    def _nu(self, shape: Array) -> float:
        return max(float(shape[0]), LEAST) if self.nu is None else self.nu

    def falling(self, h: Array, shape: Array) -> tuple[Array, Array]:
        nu = self._nu(shape)
        c, fall = each_once(lambda part: matern(part, nu), h, nu)
        return c, fall

    def by_shape(self, h: Array, shape: Array) -> Array:
        nu = self._nu(shape)
        return each_once(lambda part: (by_smoothness(part, nu),), h, nu)[0]


def each_once(function: Callable[[Array], tuple[Array, ...]], h: Array, nu: float) -> list[Array]:
    """What a function of h gives of a matrix: of equal elements, many on a grid, once; 0 where nothing is left of c."""
    values, place = np.unique(h, return_inverse=True)
    near = np.sqrt(2.0 * nu) * values < NOTHING + 2.0 * nu
    out = []
    for part in function(values[near]):
        whole = np.zeros(len(values))
        whole[near] = part
        out.append(whole[place.reshape(h.shape)])
    return out


def matern(h: Array, nu: float) -> tuple[Array, Array]:
    """c and −h c' of h ≥ 0: c = 2^(1−ν)/Γ(ν) x^ν K_ν(x) and x c K_(ν−1)(x)/K_ν(x)."""
    x = np.minimum(np.sqrt(2.0 * nu) * h, FAR)
    with np.errstate(all="ignore"):
        log_k = log_bessel(nu, x)
        log_c = (1.0 - nu) * np.log(2.0) - gammaln(nu) + nu * np.log(x) + log_k
        c = np.exp(np.minimum(log_c, 0.0))
        fall = c * x * np.exp(log_bessel(abs(nu - 1.0), x) - log_k)
    small = ~np.isfinite(log_c) & (x < 1.0)
    square = 0.25 * x[small] ** 2 / max(nu - 1.0, 1.0)  # K_ν overflows only where ν is large: c = 1 − x²/(4(ν − 1)) + …
    c[small], fall[small] = 1.0 - square, 2.0 * square
    return c, np.where(np.isfinite(fall), fall, 0.0)


def by_smoothness(h: Array, nu: float) -> Array:
    """∂c/∂ν at a given h."""
    x = np.minimum(np.sqrt(2.0 * nu) * h, FAR)
    c, fall = matern(h, nu)
    with np.errstate(all="ignore"):
        slope = sum(
            weight * (log_bessel(abs(nu + k * STEP), x) - log_bessel(abs(nu - k * STEP), x)) for k, weight in WEIGHTS
        )
        out = c * (-np.log(2.0) - psi(nu) + np.log(x) + slope / STEP) - fall / (2.0 * nu)
    return np.where(np.isfinite(out), out, 0.0)


def log_bessel(nu: float, x: Array) -> Array:
    """log K_ν(x); of a large ν by Debye's uniform expansion (Abramowitz & Stegun 9.7.8)."""
    if nu <= LARGE:
        return np.asarray(np.log(kve(nu, x)) - x)
    z = x / nu
    root = np.sqrt(1.0 + z * z)
    p = 1.0 / root
    eta = root + np.log(z / (1.0 + root))
    u = (
        1.0
        - (3.0 * p - 5.0 * p**3) / (24.0 * nu)
        + (81.0 * p**2 - 462.0 * p**4 + 385.0 * p**6) / (1152.0 * nu**2)
        - (30375.0 * p**3 - 369603.0 * p**5 + 765765.0 * p**7 - 425425.0 * p**9) / (414720.0 * nu**3)
        + (4465125.0 * p**4 - 94121676.0 * p**6 + 349922430.0 * p**8 - 446185740.0 * p**10 + 185910725.0 * p**12)
        / (39813120.0 * nu**4)
    )
    return np.asarray(0.5 * np.log(np.pi / (2.0 * nu)) - nu * eta - 0.5 * np.log(root) + np.log(u))
