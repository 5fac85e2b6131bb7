"""Genotypes in a NumPy file, (markers, …): the bytes of a .bed, or dosages; read where they are multiplied.

The file is written and read a block of markers at a time, so that it may be larger than the memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.errors import DataError
from remlblup.relationship.genomic.genotypes import Genotypes
from remlblup.relationship.genomic.packed import bed_bytes, bed_counts, packed_bed, packed_product
from remlblup.relationship.genomic.parts import StoredPart, bytes_of_markers, product_with

# Markers written at a time.
_BLOCK = 1024


@dataclass(frozen=True)
class ArrayFile:
    """Such a file, as a source of blocks (`arrays.Source`).

    Attributes
    ----------
    path : absolute
    shape : individuals, markers
    dosage : whether it holds float32 dosages
    before : bytes before the first marker
    """

    path: str
    shape: tuple[int, int]
    dosage: bool
    before: int

    @property
    def where(self) -> str:
        """For the repr."""
        return f"read from {Path(self.path).name}"

    def read(self, rows: Index | None, columns: slice | Index) -> np.ndarray:
        """See `arrays.Source`."""
        values = self._markers(columns)
        values = values.view("<f4") if self.dosage else bed_counts(values)
        chosen = values[:, : self.shape[0]] if rows is None else values[:, rows]
        return np.asfortranarray(chosen.T)

    def part(self, rows: Index | None, columns: slice | Index) -> StoredPart:
        """See `arrays.Source`."""
        return StoredPart(self, rows, columns)

    def product(self, rows: Index | None, columns: slice | Index, table: np.ndarray, V: Array) -> Array:
        """W (W'V) of these individuals and markers."""
        if self.dosage:
            return product_with(self.read(rows, columns), table, V)
        return packed_product(packed_bed(self._markers(columns), True, rows, self.shape[0]), table, V)

    def _markers(self, columns: slice | Index) -> np.ndarray:
        n, m = self.shape
        return bytes_of_markers(self.path, self.before, _width(n, self.dosage), m, columns)


def write_array(genotypes: Genotypes, file: BinaryIO) -> None:
    """Write these individuals and markers as an array (m, n / 4) of uint8, or (m, n) of float32."""
    n, m = genotypes.shape
    dosage = genotypes.is_dosage
    shape, kind = ((m, n), "<f4") if dosage else ((m, _width(n, dosage)), "|u1")
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    for _, block in genotypes.blocks(_BLOCK):
        values: np.ndarray = block.T.astype(kind) if dosage else bed_bytes(block)
        file.write(np.ascontiguousarray(values).data)


def read_array(path: Path, individuals: int, markers: int) -> ArrayFile:
    """The source of what `write_array` wrote.

    Raises
    ------
    DataError
        If it is of another shape.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
        before = file.tell()
    dosage = kind == np.dtype("<f4")
    width = individuals if dosage else _width(individuals, False)
    if shape != (markers, width) or fortran or not (dosage or kind == np.dtype("u1")):
        raise DataError(
            f"{path} holds an array {shape} of {kind}, which is not that of {individuals:,} individuals and"
            f" {markers:,} markers."
        )
    return ArrayFile(str(path.resolve()), (individuals, markers), dosage, before)


def _width(individuals: int, dosage: bool) -> int:
    """Bytes of a marker."""
    return 4 * individuals if dosage else -(-individuals // 4)
