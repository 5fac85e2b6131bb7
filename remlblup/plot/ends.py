"""Names at both ends of a ranking that has more levels than there is room for names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from remlblup.arrays import Array
from remlblup.plot.style import GREY, INK, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Names at each end, and the room of one as a share of the height.
AT_ENDS, ROOM = 6, 0.045


def name_ends(ax: Axes, x: Array, names: Sequence[object]) -> None:
    """Names right of the Axes, each with a line to its level; x (n,) are the values at ranks 1 … n."""
    count = len(names)
    ends = min(AT_ENDS, count // 2)
    step = ROOM * count
    low, high = np.arange(ends), np.arange(count - ends, count)
    at = np.r_[1 + step * low, count - step * (count - 1 - high)]
    for level, y in zip(np.r_[low, high], at, strict=True):
        ax.annotate(shorten(names[level], 18), (float(x[level]), level + 1), (1.02, y),
                    textcoords=("axes fraction", "data"), ha="left", va="center", fontsize=7, color=INK,
                    arrowprops={"arrowstyle": "-", "color": GREY, "lw": 0.4, "shrinkB": 1})  # fmt: skip
