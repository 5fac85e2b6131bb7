"""What the plots share: a colour-blind-safe palette (Okabe and Ito), light axes, an Axes when none is given."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from remlblup.errors import OptionError, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
INK = "#222222"
GREY = "#777777"
PALE = "#BCD6E8"


def axes(ax: Axes | None, size: tuple[float, float] = (6.4, 4.2)) -> Axes:
    """`ax`, or the Axes of a new figure, with only the two spines that carry a scale.

    Raises
    ------
    OptionError
        If `ax` is not a matplotlib Axes.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=size, layout="constrained")[1]
    elif not hasattr(ax, "plot") or not hasattr(ax, "set_title"):
        raise OptionError(f"ax= takes one matplotlib Axes, not {type(ax).__name__}: pick one of the array, axs[0].")
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(color=GREY, labelcolor=INK, labelsize=9)
    return ax


def panels(
    given: Axes | Iterable[Axes] | None, shape: tuple[int, int], size: tuple[float, float], layout: str = "constrained"
) -> np.ndarray:
    """The Axes given, or those of a new figure of `shape` (rows, columns) and `size`, flat, in the style of `axes`.

    Raises
    ------
    OptionError
        If `given` are not as many Axes as needed.
    """
    count = shape[0] * shape[1]
    if given is None:
        import matplotlib.pyplot as plt

        found: Any = plt.subplots(*shape, figsize=size, layout=layout, squeeze=False)[1].ravel()
    else:
        one = hasattr(given, "set_title")
        found = given.ravel() if isinstance(given, np.ndarray) else [given] if one else listed("axes=", given)
    if len(found) != count:
        raise OptionError(
            f"axes= takes {count} matplotlib Axes for this plot, {shape[0]} x {shape[1]}, not {len(found)}."
        )
    return np.array([axes(ax) for ax in found], dtype=object)


def room_for_legend(ax: Axes) -> None:
    """Raise the top of logarithmic axes until the legend, at the best place there is, covers no line.

    Called when everything is drawn: the size of the Axes is known then.
    """
    legend, figure = ax.get_legend(), ax.figure.figure  # of a part of a figure, the whole
    for _ in range(5 if legend is not None else 0):
        figure.draw_without_rendering()
        box = legend.get_window_extent()  # type: ignore[union-attr]
        paths = [line.get_transform().transform_path(line.get_path()) for line in ax.lines]
        if not any(np.size(path.vertices) and path.intersects_bbox(box, filled=False) for path in paths):
            return
        low, high = ax.get_ylim()
        ax.set_ylim(low, high * (high / low) ** 0.15)


def title(ax: Axes, text: str, below: str = "", colour: str = INK) -> None:
    """A left-aligned bold title, and a smaller line under it."""
    ax.set_title(text, loc="left", fontsize=11, fontweight="bold", color=colour, pad=22 if below else 8)
    if below:
        note: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 9}
        ax.annotate(below, (0, 1), (0, 8), color=GREY, va="bottom", **note)


def shorten(text: object, limit: int) -> str:
    """`text` cut to `limit` characters, the cut marked by an ellipsis."""
    text = str(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shorten_label(label: object, limit: int) -> str:
    """The label of a parameter, "term: parameter", cut in its term first: the parameter tells it from others."""
    term, colon, parameter = str(label).rpartition(": ")
    room = limit - len(parameter) - 2
    return f"{shorten(term, room)}: {parameter}" if colon and room > 3 else shorten(label, limit)
