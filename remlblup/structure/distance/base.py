"""Σ_ij = v c(d_ij): one variance, and a correlation that falls with the distance of the places of two effects.

θ = (variance, the parameters of the distance, those of the shape). A function of distance gives c(h) of the distance h
in ranges, and with it −h c'(h), how fast it falls with log h; `metric` has how log h changes. Σ is a matrix over all
places: derivatives are made one at a time where they are asked for one at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import ModelError, OptionError
from remlblup.structure.base import Structure
from remlblup.structure.distance.fitted import nearest
from remlblup.structure.distance.metric import METRICS, Metric

# Places of which distances are looked at for a start.
SAMPLE = 300
# Where ranges are looked for, as shares of the extent.
GRID = (0.01, 0.03, 0.1, 0.2, 0.4, 0.8, 1.6)


class Distance(Structure):
    """Σ(θ) = v c(h(θ)) over t places.

    Parameters
    ----------
    effects : as of `Structure`
    positions : (t,) or (t, d) where the effects lie
    coordinates : names of the d coordinates
    metric : "isotropic", "each", "angle" or "earth", see `remlblup.structure.distance.metric`

    Attributes
    ----------
    half : h at which c is about one half
    on_earth : whether c is a covariance of great-circle distances
    most_coordinates : up to how many coordinates c is a covariance
    has_kinks : whether c has a kink, at the range, so that ℓ may have one where the range is that of two places
    shape_names : parameters of c beside the distance
    """

    options: tuple[str, ...] = ("metric",)
    ordered = True
    linear = False
    half: float = 0.9
    on_earth: bool = False
    most_coordinates: float = np.inf
    has_kinks: bool = False

    def __init__(
        self,
        effects: Sequence[str],
        positions: Array | None = None,
        coordinates: Sequence[str] = (),
        metric: object = "isotropic",
    ):
        if positions is None:
            raise ModelError(
                f"'{self.keyword}' needs to know where {', '.join(map(str, effects))} lie: put numeric coordinates in"
                f" front of the bar, as in {self.keyword}(x, y | g)."
            )
        super().__init__(effects, np.asarray(positions, dtype=float))
        self.places: Array = np.asarray(positions, dtype=float).reshape(self.size, -1)
        if metric not in METRICS:
            raise OptionError(f"'{self.keyword}': metric={metric} is not known. Known: {', '.join(METRICS)}.")
        names = tuple(coordinates) or tuple(f"x{k + 1}" for k in range(self.places.shape[1]))
        if self.places.shape[1] > self.most_coordinates:
            raise OptionError(
                f"'{self.keyword}' is a covariance of at most {self.most_coordinates:g} coordinate(s): write"
                f" {'sph, ' if self.most_coordinates < 2 else ''}exp or gau (Chilès & Delfiner 2012, section 2.5)."
            )
        if metric == "earth" and not self.on_earth:
            raise OptionError(
                f"'{self.keyword}' is no covariance of great-circle distances (Gneiting 2013, Bernoulli 19:1327): write"
                " exp, sph or mat, or project the places onto a plane."
            )
        if len(np.unique(self.places, axis=0)) < self.size:
            raise ModelError(f"'{self.keyword}' needs a place for each of its {self.size} effects, no two the same.")
        least = 2 + max(len(self.shape_names), 0)
        if self.size < least:
            raise ModelError(
                f"'{self.keyword}' has a correlation that falls with the distance, but all effects lie at"
                f" {'one place' if self.size == 1 else 'two places'}: nothing shows how it falls."
            )
        self.metric: Metric = METRICS[str(metric)](names, self.places)

    # -- parameters --------------------------------------------------------------------------

    @property
    def shape_names(self) -> tuple[str, ...]:
        return ()

    @property
    def shape_upper(self) -> Array:
        return np.zeros(0)

    def first_shape(self) -> Array:
        """The shape to start from."""
        return np.zeros(0)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ("variance", *self.metric.names, *self.shape_names)

    @cached_property
    def lower(self) -> Array:
        return np.r_[0.0, self.metric.lower, np.zeros(len(self.shape_names))]

    @cached_property
    def upper(self) -> Array:
        return np.r_[np.inf, np.full(len(self.metric.names), np.inf), self.shape_upper]

    @cached_property
    def variances(self) -> np.ndarray:
        return np.arange(self.n_parameters) == 0

    @cached_property
    def powers(self) -> Array:
        """Steps in the logarithms of ranges, ratios and smoothness."""
        logarithmic = np.r_[self.metric.logarithmic, np.ones(len(self.shape_names), dtype=bool)]
        return np.r_[1.0, np.where(logarithmic, 0.0, 1.0)]

    @cached_property
    def usual(self) -> Array:
        """Quantiles of the distances between places, of some of them where there are many: 5, 25, 50 and 100 %."""
        some = self.places[np.unique(np.linspace(0, self.size - 1, min(self.size, SAMPLE)).astype(int))]
        d = self.metric.distances(some, some)[np.tril_indices(len(some), -1)]
        return np.quantile(d, (0.05, 0.25, 0.5, 1.0))

    def sizes(self, variance: float) -> Array:
        """What counts as one unit of each parameter, the variance being this."""
        return np.r_[variance, self.metric.sizes(self.usual[1]), np.ones(len(self.shape_names))]

    def split(self, theta: Array) -> tuple[float, Array, Array]:
        """Variance, parameters of the distance, shape."""
        end = 1 + len(self.metric.names)
        return float(theta[0]), theta[1:end], theta[end:]

    # -- Σ ---------------------------------------------------------------------------------

    @abstractmethod
    def falling(self, h: Array, shape: Array) -> tuple[Array, Array]:
        """c(h) and −h c'(h)."""

    def by_shape(self, h: Array, shape: Array) -> Array:
        """∂c/∂shape at h, of a function with a shape."""
        raise NotImplementedError

    def _h(self, theta: Array) -> Array:
        return self.metric.scaled(self.split(theta)[1], self.places, self.places)

    def covariance(self, theta: Array) -> Array:
        variance, _, shape = self.split(theta)
        return variance * self.falling(self._h(theta), shape)[0]

    def each_derivative(self, theta: Array) -> Iterator[Array]:
        """∂Σ/∂θ_j (t, t), one at a time."""
        variance, metric, shape = self.split(theta)
        h = self._h(theta)
        c, fall = self.falling(h, shape)
        yield c
        del c
        fall *= variance
        for slope in self.metric.slopes(metric):
            yield fall * slope
        del fall
        for _ in self.shape_names:
            yield variance * self.by_shape(h, shape)

    def derivatives(self, theta: Array) -> Array:
        return np.stack(list(self.each_derivative(theta)))

    def score(self, theta: Array, S: Array) -> Array:
        return np.array([np.vdot(change, S) for change in self.each_derivative(theta)])

    def scores(self, theta: Array, S: Array) -> Array:
        return np.column_stack([S.reshape(len(S), -1) @ change.ravel() for change in self.each_derivative(theta)])

    def changes(self, theta: Array, h: Array) -> Array:
        return np.stack([change @ h for change in self.each_derivative(theta)])

    def covariance_between(self, theta: Array, here: Array, there: Array) -> Array:
        """v c (m, r) between any places (m, d) and (r, d)."""
        variance, metric, shape = self.split(theta)
        here, there = (places.reshape(-1, self.places.shape[1]) for places in (here, there))
        self.metric.require(here)
        return variance * self.falling(self.metric.scaled(metric, here, there), shape)[0]

    def between(self, theta: Array, here: Array) -> Array:
        return self.covariance_between(theta, here, self.places)

    # -- finding θ ---------------------------------------------------------------------------

    def first(self) -> Array:
        """Parameters of distance and shape to start from: half of the correlation at a usual distance."""
        return np.r_[self.metric.start(self.usual[2 if self.has_kinks else 1] / self.half), self.first_shape()]

    def start(self, sigma: Array) -> Array:
        return np.r_[np.mean(np.diag(sigma)), self.first()]

    def other_starts(self, theta: Array) -> list[Array]:
        """Shorter and longer ranges; so short a one last that Σ is regular of any function of distance."""
        distances = np.r_[self.usual / self.half, self.usual[0] * np.array([0.4, 0.16])]
        return [np.r_[theta[0], self.metric.start(d), self.first_shape()] for d in distances]

    def project(self, sigma: Array) -> Array:
        variance = max(float(np.mean(np.diag(sigma))), 0.0)
        if variance == 0.0:
            return np.r_[0.0, self.first()]
        return np.r_[variance, nearest(self, sigma / variance)]

    @property
    def metric_ranges(self) -> np.ndarray:
        """Mask of the ranges among the parameters behind the variance."""
        return np.array([name.startswith("range") for name in self.names[1:]])

    def scaled(self, theta: Array, factor: float) -> Array:
        return np.r_[factor * theta[0], theta[1:]]

    def undefined(self, theta: Array) -> np.ndarray:
        variance, metric, _ = self.split(theta)
        ranges = np.r_[False, self.metric_ranges]
        mask = np.r_[False, self.metric.undefined(metric), np.zeros(len(self.shape_names), dtype=bool)]
        mask |= ~ranges & bool(np.all(theta[ranges] == 0.0))  # no correlation at all
        mask |= variance == 0.0
        return mask & (np.arange(len(theta)) > 0)

    def lifted(self, theta: Array, S: Array, scale: Array, free: np.ndarray) -> Array | None:
        """The ranges of a grid with the largest ∂ℓ/∂v = tr(S C)."""
        if theta[0] > 0.0:
            return None
        at = np.r_[float(np.mean(scale**2)), theta[1:]]
        if not free[1:].all():
            return at
        trials = [np.r_[at[0], self.metric.start(k * self.usual[3]), self.first_shape()] for k in GRID]
        return max(trials, key=lambda t: float(np.sum(S * self.covariance(t))))
