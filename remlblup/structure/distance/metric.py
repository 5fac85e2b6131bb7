"""How far apart places are, in units of the range: h = d/φ, and how log h changes with the parameters of the distance.

Of two places with the differences δ in their coordinates,

    isotropic   h² = Σ δ_j² / φ²
    each        h² = Σ (δ_j / φ_j)²
    angle       h² = (s² + (c/r)²) / φ²    s along the direction at the angle α from the first coordinate, c across it
    earth       h = great-circle distance / φ, in kilometres, of latitudes and longitudes in degrees

(geometric anisotropy: Journel & Huijbregts 1978, section III.B.4). All give g_j = −∂log h/∂θ_j, so that the derivative
of a correlation c(h) is −h c'(h) g_j.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from remlblup.arrays import Array
from remlblup.cached import cached_property
from remlblup.errors import DataError, ModelError, OptionError

# The mean radius of the earth (IUGG), km.
RADIUS = 6371.0088
DEGREE = np.pi / 180.0
# A range below this share of the extent is taken as that: every correlation is zero there.
LEAST = 1e-70


class Metric(ABC):
    """Distances between places in units of the range.

    Parameters
    ----------
    coordinates : names of the coordinates
    places : (t, d) where the places lie
    """

    keyword: str
    #: θ whose steps are taken in its logarithm.
    logarithmic: tuple[bool, ...]

    def __init__(self, coordinates: Sequence[str], places: Array):
        self.coordinates, self.places = tuple(coordinates), places
        self.extent = self.longest()

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Of the parameters, the range first."""

    @cached_property
    def lower(self) -> Array:
        return np.where(self.logarithmic, 0.0, -np.inf)

    def require(self, places: Array) -> None:
        """Raise `DataError` where places, new ones too, are none of this metric; of a plane all are."""
        return

    @abstractmethod
    def scaled(self, theta: Array, here: Array, there: Array) -> Array:
        """h (m, t) between the places `here` (m, d) and `there` (t, d)."""

    @abstractmethod
    def slopes(self, theta: Array) -> Iterator[Array | float]:
        """g_j = −∂log h/∂θ_j among the places, (t, t) or one number; 0 of a place with itself."""

    def start(self, distance: float) -> Array:
        """θ at which places this far apart are one range apart, with no direction of its own that is not seen."""
        return np.array([distance])

    def distances(self, here: Array, there: Array) -> Array:
        """(m, t) in the units of the coordinates."""
        return np.sqrt(sum((a[:, None] - b) ** 2 for a, b in zip(here.T, there.T, strict=True)))

    def longest(self) -> float:
        """The extent of the places: the diagonal of the box around them."""
        return float(np.linalg.norm(np.ptp(self.places, axis=0)))

    def sizes(self, distance: float) -> Array:
        """What counts as one unit of each parameter."""
        return np.where(self.logarithmic, self.start(distance), 30.0)

    def undefined(self, theta: Array) -> np.ndarray:
        """Mask of the parameters that h does not depend on at θ."""
        return np.zeros(len(theta), dtype=bool)

    def ranges(self, theta: Array) -> Array:
        """The longest range."""
        return theta[:1]

    def lengthening(self, theta: Array, length: float) -> np.ndarray:
        """Mask of the parameters that make ranges longer than `length`."""
        return np.asarray(theta > length)

    def _least(self, value: float) -> float:
        return max(value, LEAST * self.extent)


class Isotropic(Metric):
    """One range in all directions."""

    keyword = "isotropic"
    logarithmic = (True,)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return ("range",)

    def scaled(self, theta: Array, here: Array, there: Array) -> Array:
        return np.asarray(self.distances(here, there) / self._least(theta[0]))

    def slopes(self, theta: Array) -> Iterator[Array | float]:
        yield 1.0 / self._least(theta[0])


class Earth(Isotropic):
    """Great-circle distances in kilometres, by haversines (Sinnott 1984, *Sky and Telescope* 68:159)."""

    keyword = "earth"

    def __init__(self, coordinates: Sequence[str], places: Array):
        if places.shape[1] != 2:
            raise OptionError("metric=earth takes two coordinates, latitude and longitude in degrees.")
        super().__init__(coordinates, places)
        self.require(places)

    def require(self, places: Array) -> None:
        """Raise `DataError` where degrees are beyond the globe."""
        if np.any(np.abs(places[:, 0]) > 90.0) or np.any(np.abs(places[:, 1]) > 360.0):
            (a, b), (low, high) = self.coordinates, (places.min(axis=0), places.max(axis=0))
            raise DataError(
                "metric=earth takes latitudes between -90 and 90, then longitudes between -180 and 180 degrees:"
                f" '{a}' goes from {low[0]:g} to {high[0]:g}, '{b}' from {low[1]:g} to {high[1]:g}."
            )

    def distances(self, here: Array, there: Array) -> Array:
        (a, x), (b, z) = (here * DEGREE).T, (there * DEGREE).T
        half = np.sin(0.5 * (a[:, None] - b)) ** 2
        half += np.cos(a)[:, None] * np.cos(b) * np.sin(0.5 * (x[:, None] - z)) ** 2
        return np.asarray(2.0 * RADIUS * np.arcsin(np.sqrt(np.minimum(half, 1.0))))

    def longest(self) -> float:
        return float(np.max(self.distances(self.places[:1], self.places)))


class Each(Metric):
    """A range for each coordinate."""

    keyword = "each"

    def __init__(self, coordinates: Sequence[str], places: Array):
        self.logarithmic = (True,) * len(coordinates)
        if len(coordinates) < 2:
            raise OptionError("metric=each takes two coordinates or more: of one there is one range anyway.")
        still = [c for c, extent in zip(coordinates, np.ptp(places, axis=0), strict=True) if extent == 0.0]
        if still:
            raise ModelError(f"'{still[0]}' has one value only: nothing shows a range along it.")
        super().__init__(coordinates, places)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(f"range({c})" for c in self.coordinates)

    def _squares(self, theta: Array, here: Array, there: Array) -> Iterator[Array]:
        for a, b, value in zip(here.T, there.T, theta, strict=True):
            yield ((a[:, None] - b) / self._least(value)) ** 2

    def scaled(self, theta: Array, here: Array, there: Array) -> Array:
        return np.sqrt(sum(self._squares(theta, here, there)))

    def slopes(self, theta: Array) -> Iterator[Array | float]:
        whole = np.sum(list(self._squares(theta, self.places, self.places)), axis=0)
        for part, value in zip(self._squares(theta, self.places, self.places), theta, strict=True):
            yield share(part, whole) / self._least(value)

    def start(self, distance: float) -> Array:
        extents = np.ptp(self.places, axis=0)
        return np.asarray(distance * extents * np.sqrt(len(extents)) / np.linalg.norm(extents))

    def ranges(self, theta: Array) -> Array:
        return theta


class Angle(Metric):
    """Geometric anisotropy of two coordinates: range along a direction, ratio of that across to it, its angle."""

    keyword = "angle"
    logarithmic = (True, True, False)

    def __init__(self, coordinates: Sequence[str], places: Array):
        if places.shape[1] != 2:
            raise OptionError("metric=angle takes two coordinates: the angle is that from the first to the second.")
        centred = places - places.mean(axis=0)
        if np.linalg.matrix_rank(centred, tol=1e-9 * max(float(np.abs(centred).max()), 1e-300)) < 2:
            raise ModelError("metric=angle: all places lie on one line, and nothing shows another direction.")
        super().__init__(coordinates, places)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return "range", "ratio", "angle"

    def _turned(self, theta: Array, here: Array, there: Array) -> tuple[Array, Array]:
        """Differences along and across the direction."""
        cos, sin = np.cos(theta[2] * DEGREE), np.sin(theta[2] * DEGREE)
        dx, dy = here[:, :1] - there[:, 0], here[:, 1:] - there[:, 1]
        return cos * dx + sin * dy, cos * dy - sin * dx

    def scaled(self, theta: Array, here: Array, there: Array) -> Array:
        along, across = self._turned(theta, here, there)
        return np.asarray(np.hypot(along, across / max(theta[1], LEAST)) / self._least(theta[0]))

    def slopes(self, theta: Array) -> Iterator[Array | float]:
        along, across = self._turned(theta, self.places, self.places)
        ratio = max(theta[1], LEAST)
        whole = along**2 + (across / ratio) ** 2
        yield 1.0 / self._least(theta[0])
        yield share((across / ratio) ** 2, whole) / ratio
        yield share(along * across * (1.0 / ratio**2 - 1.0) * DEGREE, whole)

    def start(self, distance: float) -> Array:
        return np.array([distance, 0.7, 20.0])

    def undefined(self, theta: Array) -> np.ndarray:
        return np.array([False, False, theta[1] == 1.0])

    def ranges(self, theta: Array) -> Array:
        return np.array([theta[0], theta[0] * theta[1]])

    def lengthening(self, theta: Array, length: float) -> np.ndarray:
        along, across = self.ranges(theta) > length
        return np.array([along, across and not along, False])


def share(part: Array, whole: Array) -> Array:
    """part / whole, zero where the whole is."""
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0.0)


METRICS: dict[str, type[Metric]] = {cls.keyword: cls for cls in (Isotropic, Each, Angle, Earth)}
