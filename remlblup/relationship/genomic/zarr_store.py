"""Genotypes in a Zarr store: ours, with the bytes of a .bed, and those of VCF Zarr, read where they are multiplied."""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from remlblup.arrays import Array, Index
from remlblup.errors import DataError, DependencyError
from remlblup.relationship.genomic.packed import bed_bytes, bed_counts, packed_bed, packed_product
from remlblup.relationship.genomic.parts import StoredPart, product_with
from remlblup.relationship.genomic.paths import path_of

PACKED, CALLS, DOSAGES = "genotypes_bed", "call_genotype", "dosages"
"""Arrays of counts, as the bytes of a .bed (markers, individuals / 4); of alleles (markers, individuals, ploidy); of
dosages (markers, individuals). The second is VCF Zarr's, the others are ours."""
CHUNK = 1024


@dataclass(frozen=True)
class ZarrSource:
    """A store, as a source of blocks (`arrays.Source`).

    Attributes
    ----------
    path : of a folder, absolute, or an address that Zarr knows
    name : `PACKED`, `CALLS` or `DOSAGES`
    shape : individuals, markers
    """

    path: str
    name: str
    shape: tuple[int, int]

    @property
    def dosage(self) -> bool:
        """True for dosages."""
        return self.name == DOSAGES

    @property
    def where(self) -> str:
        """For the repr."""
        return f"read from {self.path.rstrip('/').rpartition('/')[2]}"

    def read(self, rows: Index | None, columns: slice | Index) -> np.ndarray:
        """See `arrays.Source`."""
        values = self._markers(columns)
        if self.name == PACKED:
            values = bed_counts(values)
        elif self.name == CALLS:
            values = np.where((values < 0).any(axis=2), -1, values.sum(axis=2)).astype(np.int8)
        chosen = values[:, : self.shape[0]] if rows is None else values[:, rows]
        return np.asfortranarray(chosen.T)

    def part(self, rows: Index | None, columns: slice | Index) -> StoredPart:
        """See `arrays.Source`."""
        return StoredPart(self, rows, columns)

    def product(self, rows: Index | None, columns: slice | Index, table: np.ndarray, V: Array) -> Array:
        """W (W'V) of these individuals and markers."""
        if self.name != PACKED:
            return product_with(self.read(rows, columns), table, V)
        return packed_product(packed_bed(self._markers(columns), True, rows, self.shape[0]), table, V)

    def _markers(self, columns: slice | Index) -> np.ndarray:
        """What the store holds of these markers. A marker of nothing but the fill value may be of a missing chunk."""
        array = _array(self.path, self.name)
        try:
            values = array[columns] if isinstance(columns, slice) else array.oindex[columns]
        except Exception as error:  # of the codecs, the file system, a service far away
            raise DataError(f"{self.path} cannot be read on {socket.gethostname()}: {_words(error)}.") from None
        if len(values) and (values == array.fill_value).reshape(len(values), -1).all(axis=1).any():
            require_chunks(array, self.path)
        return values


def read_zarr(path: str | Path) -> tuple[Any, Iterable, Iterable, str]:
    """See `Genotypes.from_zarr`."""
    where = address(path)
    group = _group(where)
    name = next((name for name in (PACKED, CALLS, DOSAGES) if name in group), None)
    absent = [each for each in ("sample_id", "variant_id") if each not in group]
    if name is None or absent:
        raise DataError(
            f"{where} holds no genotypes: sample_id, variant_id and {CALLS} of VCF Zarr are looked for, or what"
            f" Genotypes.to_zarr writes. Its arrays: {', '.join(sorted(group.array_keys())) or 'none'}."
        )
    ids, markers = (np.asarray(_read(group[each], where), dtype=object) for each in ("sample_id", "variant_id"))
    array = group[name]
    individuals = -(-len(ids) // 4) if name == PACKED else len(ids)
    if array.shape[:2] != (len(markers), individuals):
        raise DataError(
            f"{name} of {where} is of shape {array.shape}; {len(markers):,} markers and {len(ids):,} individuals are"
            f" named, so that it should begin with {len(markers)}, {individuals}."
        )
    require_chunks(array, where)
    counted = str(group.attrs.get("counted", "alleles that are not the reference" if name == CALLS else "as given"))
    return ZarrSource(where, name, (len(ids), len(markers))), ids, markers, counted


def write_zarr(genotypes: Any, path: str | Path) -> None:
    """See `Genotypes.to_zarr`. The folder takes its name when it is whole."""
    zarr, folder = _zarr(), Path(address(path))
    if folder.exists():
        raise DataError(f"{folder} is there already: remove it, or write to another.")
    unfinished = folder.with_name(folder.name + ".unfinished")
    n, m = genotypes.shape
    try:
        group = zarr.open_group(str(unfinished), mode="w")
        group.attrs["counted"] = genotypes.counted
        for name, labels in (("sample_id", genotypes.ids), ("variant_id", genotypes.markers)):
            texts = np.asarray(labels).astype(str).astype(object)
            group.create_array(name, shape=len(texts), dtype="string")[:] = texts
        width = n if genotypes.is_dosage else -(-n // 4)
        array = group.create_array(
            DOSAGES if genotypes.is_dosage else PACKED, shape=(m, width), chunks=(min(CHUNK, m), width),
            dtype="float32" if genotypes.is_dosage else "uint8", fill_value=-1 if genotypes.is_dosage else 0x55,
            compressors="auto" if genotypes.is_dosage else None, config={"write_empty_chunks": True},
        )  # fmt: skip
        for place, block in genotypes.blocks(CHUNK):
            array[place] = block.T if genotypes.is_dosage else bed_bytes(block)
        os.replace(unfinished, folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be written: {error.strerror or error}.") from None


def address(path: str | Path) -> str:
    """The path absolute, that other processes find it; an address of a service as it is."""
    return str(path) if "://" in str(path) else str(path_of(path).resolve())


def require_chunks(array: Any, where: str) -> None:
    """Raise `DataError` if chunks are not in the store: Zarr reads them as the fill value and says nothing."""
    if "://" not in where and not Path(where).exists():
        raise DataError(
            f"{where} is not there any more, on {socket.gethostname()}, and genotypes are read whenever they are"
            " needed. Put it back under this path; with client= every worker must see it there."
        )
    there, of = array._nshards_initialized, array._nshards
    if there < of:
        raise DataError(
            f"{of - there:,} of the {of:,} chunks of {array.name} are missing from {where} on {socket.gethostname()};"
            f" Zarr would read every value of them as {array.fill_value!r}. Copy or write the store again; where chunks"
            " of one value were left out on purpose, write it with write_empty_chunks=True."
        )


def _zarr() -> Any:
    try:
        import zarr
    except ImportError:
        raise DependencyError('Zarr stores are read with zarr: pip install "remlblup[distributed]".') from None
    return zarr


def _group(path: str) -> Any:
    zarr = _zarr()
    try:
        return zarr.open_group(path, mode="r")
    except Exception as error:  # of the file system, of metadata, of a service far away
        here = socket.gethostname()
        raise DataError(f"{path} is not a Zarr store that can be read on {here}: {_words(error)}.") from None


@functools.lru_cache(maxsize=8)
def _array(path: str, name: str) -> Any:
    group = _group(path)
    if name not in group:
        raise DataError(f"{path} holds no {name} on {socket.gethostname()}: it is another store there.")
    return group[name]


def _read(array: Any, where: str) -> np.ndarray:
    require_chunks(array, where)
    try:
        return np.asarray(array[:])
    except Exception as error:
        raise DataError(f"{array.name} of {where} cannot be read: {_words(error)}.") from None


def _words(error: Exception) -> str:
    return f"{type(error).__name__}, {error}".rstrip(".")
