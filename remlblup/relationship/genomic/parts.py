"""Parts of genotypes that are multiplied where they are read: small things to send, which load their own markers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, ClassVar, Protocol

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.errors import DataError
from remlblup.relationship.genomic.decoding import dosage_product
from remlblup.relationship.genomic.packed import packed_bed, packed_counts, packed_product


class Part(Protocol):
    """Some markers of genotypes.

    Attributes
    ----------
    held : whether it holds genotypes that lie in the memory of this process, and not where to read them
    """

    held: ClassVar[bool]

    def product(self, table: np.ndarray, V: Array) -> Array:
        """W (W'V), (n, k), for V (n, k) and W the codes of `table` (markers, 4) of 0, 1, 2 copies and of missing."""
        ...


@dataclass(frozen=True)
class HeldPart:
    """Genotypes in memory.

    Attributes
    ----------
    values : (individuals, markers) of all: int8, negative for missing; or float32, NaN for missing
    rows : (n,) of the individuals wanted, or None for all
    columns : (m,) of the markers, or a slice of them
    """

    values: np.ndarray
    rows: Index | None
    columns: slice | Index
    held: ClassVar[bool] = True

    def product(self, table: np.ndarray, V: Array) -> Array:
        """See `Part`."""
        block = self.values[:, self.columns]
        return product_with(block if self.rows is None else block[self.rows], table, V)


def product_with(block: np.ndarray, table: np.ndarray, V: Array) -> Array:
    """W (W'V) of counts (n, m) of int8, or of dosages of float32."""
    if block.dtype == np.int8:
        return packed_product(packed_counts(block), table, V)
    return dosage_product(block, table, V)


@dataclass(frozen=True)
class BedPart:
    """Markers of a .bed.

    Attributes
    ----------
    path : of the file, absolute
    individuals, markers : of the whole file
    rows : (n,) of the individuals wanted, or None for all
    columns : (m,) of the markers, or a slice of them
    first_counted : whether the copies of A1 are counted
    """

    path: str
    individuals: int
    markers: int
    rows: Index | None
    columns: slice | Index
    first_counted: bool
    held: ClassVar[bool] = False

    def product(self, table: np.ndarray, V: Array) -> Array:
        """See `Part`."""
        return packed_product(packed_bed(self.read(), self.first_counted, self.rows, self.individuals), table, V)

    def read(self) -> np.ndarray:
        """The bytes of these markers, (m, individuals / 4)."""
        return bytes_of_markers(self.path, 3, -(-self.individuals // 4), self.markers, self.columns)


class Stored(Protocol):
    """A source of genotypes whose parts read them by its path."""

    def product(self, rows: Index | None, columns: slice | Index, table: np.ndarray, V: Array) -> Array:
        """W (W'V) of these individuals and markers."""
        ...


@dataclass(frozen=True)
class StoredPart:
    """Markers of such a source: `rows` of its individuals or None for all, `columns` of its markers."""

    source: Stored
    rows: Index | None
    columns: slice | Index
    held: ClassVar[bool] = False

    def product(self, table: np.ndarray, V: Array) -> Array:
        """See `Part`."""
        return self.source.product(self.rows, self.columns, table, V)


def bytes_of_markers(path: str, before: int, length: int, markers: int, columns: slice | Index) -> np.ndarray:
    """(m, length) bytes of some of the markers of a file, those next to each other at once.

    Parameters
    ----------
    before : bytes before the first marker
    length : bytes of a marker
    markers : of the whole file
    """
    wanted = np.arange(markers)[columns]
    out = np.empty((len(wanted), length), dtype=np.uint8)
    with opened(path, before + length * markers) as file:
        for run in np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(wanted) != 1) + 1):
            file.seek(before + length * int(wanted[run[0]]))
            if file.readinto(out[run[0] : run[-1] + 1]) != length * len(run):  # type: ignore[attr-defined]
                raise DataError(f"{path} became shorter while it was read.")
    return out


@contextmanager
def opened(path: str, size: int) -> Iterator[BinaryIO]:
    """A file of so many bytes, read where this process runs.

    Raises
    ------
    DataError
        If it is not there, or of another size.
    """
    here = socket.gethostname()
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                raise DataError(
                    f"{path} has {found:,} bytes on {here}, and should have {size:,}: it is another file there, or has"
                    " been written anew."
                )
            yield file
    except OSError as error:
        raise DataError(
            f"{path} cannot be read on {here} ({error.strerror or error}). Genotypes are read whenever products need"
            " them. Put the file back; with client= every worker must see the file under this path, on a shared file"
            " system or as a copy of its own."
        ) from None
