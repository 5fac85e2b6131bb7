"""The columns of the data, each looked at once: what is missing, whether it holds text, which levels it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from remlblup.arrays import Array, objects
from remlblup.cached import cached_property
from remlblup.errors import DataError
from remlblup.model.frame import check_cells, holds_text, in_memory_order, is_foreign, plain
from remlblup.relationship.labels import canonical, check_exact, match, tidy

COPIES_ON_WRITE = int(pd.__version__.split(".")[0]) >= 3
# Frames of no more columns are taken apart whole, of others only the columns that are asked for.
NARROW = 12
# Texts of so many records are made codes by a dictionary.
SHORT = 1_000


class Coded(NamedTuple):
    """A column as codes and levels.

    Attributes
    ----------
    codes : (n,) positions in the levels, −1 where the value is missing
    levels : each once, as pandas has them
    texts : the same as a list where all are text, else None
    """

    codes: np.ndarray
    levels: Any
    texts: list[str] | None

    @classmethod
    def of(cls, codes: np.ndarray, levels: Any) -> Coded:
        if isinstance(levels.dtype, pd.StringDtype):
            return cls(codes, levels, levels.tolist())
        texts = levels.tolist() if levels.dtype == object else None
        return cls(codes, levels, texts if texts and set(map(type, texts)) == {str} else None)

    @classmethod
    def of_arrow(cls, text: Any) -> Coded:
        """Of an array of text that Arrow holds: by Arrow itself, which takes longer than a short one to be called."""
        array = text.__arrow_array__()
        if len(array) <= SHORT and not array.null_count:
            return cls.of_texts(array.to_numpy().tolist())
        coded = array.dictionary_encode().combine_chunks()
        places, levels = coded.indices.fill_null(-1), coded.dictionary.to_numpy(zero_copy_only=False)
        return cls(places.to_numpy(zero_copy_only=False).astype(np.intp), levels, levels.tolist())

    @classmethod
    def of_texts(cls, values: list[str]) -> Coded:
        """Of texts, none missing."""
        levels = list(dict.fromkeys(values))
        place = dict(zip(levels, range(len(levels)), strict=True))
        return cls(np.fromiter(map(place.__getitem__, values), np.intp, len(values)), objects(levels), levels)

    def taken(self, places: np.ndarray) -> Coded:
        """The levels at some places, in that order; values of others become missing."""
        rank = np.full(len(self.levels) + 1, -1)
        rank[places] = np.arange(len(places))
        texts = None if self.texts is None else [self.texts[k] for k in places]
        return Coded(rank[self.codes], self.levels[places], texts)

    @property
    def occurring(self) -> Coded:
        """Without levels that no record has."""
        seen = np.bincount(self.codes + 1, minlength=len(self.levels) + 1)[1:]
        return self if seen.all() else self.taken(np.flatnonzero(seen))

    @property
    def sorted(self) -> Coded:
        """The levels in ascending order; of several types as text, which has one."""
        if self.texts is not None:
            order = sorted(range(len(self.texts)), key=self.texts.__getitem__)
            return self if order == list(range(len(order))) else self.taken(np.array(order, dtype=np.intp))
        try:
            place, levels = pd.factorize(self.levels, sort=True)
        except TypeError:
            place, levels = pd.factorize(pd.Series(canonical(self.levels), dtype=object), sort=True)
        return Coded.of(np.append(place, -1)[self.codes], levels)


class Column:
    """One column; what is asked of it is found once."""

    def __init__(self, series: pd.Series):
        self.series = series
        self.dtype: Any = series.dtype

    @property
    def is_categorical(self) -> bool:
        return isinstance(self.dtype, pd.CategoricalDtype)

    @cached_property
    def text(self) -> bool:
        """Whether a value is text."""
        plain = isinstance(self.dtype, np.dtype) and self.dtype.kind in "biufcmM"
        return not plain and holds_text(self.series)

    @cached_property
    def values(self) -> np.ndarray:
        """The values of a column of numpy's type, not to be written into."""
        return self.series.to_numpy()

    @cached_property
    def plain(self) -> pd.Series:
        """The column in a type of numpy's, see `plain`."""
        return plain(self.series)

    @cached_property
    def numbers(self) -> Array | None:
        """(n,) as float64, not to be written into; None of what is not numbers."""
        if isinstance(self.dtype, np.dtype) and self.dtype.kind in "biuf":
            return self.values.astype(np.float64, copy=False)
        dtype = self.plain.dtype
        if not isinstance(dtype, np.dtype) or dtype.kind not in "biuf":
            return None
        return self.plain.to_numpy(dtype=np.float64)

    @cached_property
    def kept(self) -> np.ndarray | pd.Series:
        """The values as they are now, whatever becomes of the data; Arrow's text never changes."""
        if isinstance(self.dtype, np.dtype):
            return np.array(self.values)
        arrow = isinstance(self.dtype, pd.StringDtype) and self.dtype.storage == "pyarrow"
        return self.series if arrow and COPIES_ON_WRITE else self.series.copy()

    @cached_property
    def coded(self) -> Coded:
        """Codes and levels, of categories all of them, else in the order in which they come."""
        if self.is_categorical:
            return Coded.of(self.series.cat.codes.to_numpy().astype(np.intp), self.series.cat.categories)
        if isinstance(self.dtype, pd.StringDtype):
            arrow = self.dtype.storage == "pyarrow"
            return Coded.of_arrow(self.series.array) if arrow else Coded.of(*self.series.array.factorize())
        return Coded.of(*pd.factorize(self.series))

    @cached_property
    def ordered(self) -> Coded:
        """Codes and the levels that occur, in the order of the categories or sorted."""
        occurring = self.coded.occurring
        return occurring if self.is_categorical else occurring.sorted

    @cached_property
    def factor(self) -> tuple[np.ndarray, np.ndarray]:
        """Codes and labels of the levels that occur, spellings that mean one label ("a" and "a ") being one level."""
        codes, levels, texts = self.ordered
        if texts is not None:
            labels = list(map(str.strip, texts))
            if len(set(labels)) == len(labels):
                return codes, objects(labels)
        if levels.dtype.kind not in "iu":
            same, first = np.unique(canonical(levels), return_index=True)
            if len(same) < len(levels):
                first = np.sort(first)
                codes = np.append(match(levels[first], levels), -1)[codes]
                levels = levels[first]
        return codes, np.asarray(tidy(levels))

    def check_levels(self) -> None:
        """Refuse floats that have lost digits as levels; a look at numbers, or at the levels of what is none."""
        plain = isinstance(self.dtype, pd.StringDtype) or self.dtype.kind in "iubmM"
        if plain or (self.text and not self.is_categorical and self.coded.texts is not None):
            return
        check_exact(self.series, f"the column '{self.series.name}'", DataError)

    @cached_property
    def missing(self) -> np.ndarray | None:
        """Where the value is missing, (n,); None where none is."""
        if isinstance(self.dtype, np.dtype) and self.dtype.kind in "iub":
            return None
        if isinstance(self.dtype, np.dtype) and self.dtype.kind == "f":
            absent = np.isnan(self.values)
        elif self.is_categorical or "coded" in self.__dict__:
            absent = self.coded.codes < 0
        else:
            absent = self.series.isna().to_numpy()
        return absent if absent.any() else None


class Columns:
    """The columns of a data frame by name."""

    def __init__(self, frame: pd.DataFrame):
        self.frame = frame
        self._held: dict[str, Column] = {}

    @classmethod
    def of(cls, data: Columns | pd.DataFrame) -> Columns:
        return data if isinstance(data, Columns) else cls(data)

    @classmethod
    def native(cls, frame: pd.DataFrame) -> Columns:
        """Those of a user's frame, in types that the arithmetic knows (`in_memory_order`)."""
        if frame.shape[1] > NARROW:
            return cls(in_memory_order(frame))
        out = cls(frame)
        out._held = {str(name): Column(series) for name, series in frame.items()}
        if any(is_foreign(column.dtype) for column in out._held.values()):
            return cls(in_memory_order(frame))
        out.__dict__["names"] = dict.fromkeys(out._held)
        return out

    @cached_property
    def names(self) -> dict[str, None]:
        """The names of all columns, in their order."""
        return dict.fromkeys(self.frame.columns.tolist())

    def __len__(self) -> int:
        return len(self.frame)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Column:
        held = self._held.get(name)
        if held is None:
            held = self._held[name] = Column(self.frame[name])
        return held

    def instead(self, frame: pd.DataFrame) -> Columns:
        """Those of a frame that stands in the place of this one; the same if it is the same."""
        return self if frame is self.frame else Columns(frame)

    def among(self, rows: np.ndarray) -> Columns:
        """The columns in some rows, (n,) booleans."""
        out = Columns(self.frame.loc[rows])
        for name, column in self._held.items():
            if "coded" in column.__dict__:
                codes, levels, texts = column.coded
                out[name].__dict__["coded"] = Coded(codes[rows], levels, texts)
        return out

    def changed(self, series: Mapping[str, Any]) -> Columns:
        """With some columns new, or others in their place."""
        if not series:
            return self
        out = Columns(self.frame.assign(**series))
        out._held = {name: column for name, column in self._held.items() if name not in series}
        return out

    def beside(self, frame: pd.DataFrame) -> Columns:
        """Those of a frame of the same rows that has them and others."""
        if frame is self.frame:
            return self
        out = Columns(frame)
        out._held = dict(self._held)
        return out


def without_blanks(data: Columns | pd.DataFrame, columns: Iterable[str], factors: Iterable[str]) -> Columns:
    """The data with blank text (``""``, ``"  "``) as missing values: a blank names no level.

    Of `columns` that are not `factors` only where the other cells are no numbers, which may be meant as a covariate.
    """
    changed, factors, data = {}, set(factors), Columns.of(data)
    for name in {*columns, *factors}:
        if name not in data or not (column := data[name]).text:
            continue
        check_cells(column.series)
        codes, levels, texts = column.coded
        if texts is not None and all(map(str.strip, texts)):
            continue
        blank = np.array([isinstance(level, str) and not level.strip() for level in levels], dtype=bool)
        if not blank.any():
            continue
        if name in factors or pd.to_numeric(pd.Series(levels[~blank]), errors="coerce").isna().any():
            changed[name] = column.series.mask(np.append(blank, False)[codes])
            if column.is_categorical:
                changed[name] = changed[name].cat.remove_categories(levels[blank])
    return data.changed(changed)
