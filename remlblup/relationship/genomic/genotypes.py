"""Genotypes: individuals × markers of allele counts, held as int8 or read from a file block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from remlblup.cached import cached_property
from remlblup.errors import DataError
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import side_by_side
from remlblup.relationship.genomic.arrays import ArraySource, Source, check_names, check_source, unpack_matrix
from remlblup.relationship.genomic.parts import Part
from remlblup.relationship.genomic.selection import composed, positions
from remlblup.relationship.labels import tidy

#: Markers read, decoded and multiplied at a time.
BLOCK = 2048


@all_within_memory
class Genotypes:
    """Copies of one allele, 0, 1, 2 or missing, of n individuals at m markers.

    Made by `from_bed`, `from_zarr`, `from_vcf`, `from_text` or `from_matrix`. Diploid autosomal markers of two alleles
    are meant. Imputed dosages, any number from 0 to 2, are held as float32; genotypes never lie whole in memory as
    float64.

    Attributes
    ----------
    ids : ndarray, shape (n,)
    markers : ndarray, shape (m,)
    counted : str
        Which allele is counted.
    filter_report : DataFrame or None
        What `filter` removed, for genotypes it returned.

    Examples
    --------
    >>> genotypes = rb.Genotypes.from_matrix([[0, 1, 2], [2, 1, 0], [1, 1, 1]], ids=["a", "b", "c"])
    >>> genotypes.shape
    (3, 3)
    """

    def __init__(self, source: Source, ids: Iterable = (), markers: Iterable = (), counted: str = "as given") -> None:
        check_source(source)
        self._source = source
        self._rows: np.ndarray | None = None
        self._columns: np.ndarray | None = None
        self.ids = tidy(ids)
        self.markers = tidy(markers)
        check_names(self.ids, self.markers, source.shape)
        self.counted = counted
        self.filter_report: pd.DataFrame | None = None

    # -- readers ---------------------------------------------------------------------------------

    @classmethod
    def from_matrix(
        cls, M: object, ids: Iterable | None = None, markers: Iterable | None = None, *, missing: object = None
    ) -> Genotypes:
        """Genotypes from a matrix of individuals × markers.

        Parameters
        ----------
        M : ndarray, scipy sparse matrix, pandas or polars DataFrame, shape (n, m)
            Allele counts, or dosages from 0 to 2. Of a pandas frame the index holds the individuals; of a polars
            frame the first column, if it is text or named id. The columns hold the markers.
        ids, markers : array-like, optional
            Needed where M does not name them (markers are numbered without).
        missing : number or sequence of numbers, optional
            Further codes of a missing genotype beside NaN and None, such as 5, −1 or −9.

        Raises
        ------
        DataError
            If labels are missing or repeated, or a value is none of 0, 1, 2, missing or a dosage: with its
            individual and marker.
        """
        values, ids, markers = unpack_matrix(M, ids, markers, missing)
        return cls(ArraySource(values), ids, markers)

    @classmethod
    def from_bed(cls, path: str | Path, *, ids: str = "IID", counted: str = "A1") -> Genotypes:
        """Genotypes of a PLINK 1 binary file with its .bim and .fam, read block by block when needed.

        Parameters
        ----------
        path : path of the .bed file, or without its suffix
        ids : {"IID", "FID_IID"}
            What names an individual: the second column of the .fam, or both joined by ``_``.
        counted : {"A1", "A2"}
            The allele counted: the fifth column of the .bim (PLINK's A1, by default the rarer), or the sixth.

        Raises
        ------
        DependencyError
            If bed-reader is not installed: ``pip install "remlblup[genomic]"``.
        DataError
            If a file is missing or malformed, or labels occur twice.
        """
        from remlblup.relationship.genomic.files import read_bed

        return cls(*read_bed(path, ids, counted))

    @classmethod
    def from_vcf(
        cls, path: str | Path, *, field: str = "GT", multiallelic: str = "error", region: str | None = None
    ) -> Genotypes:
        """Genotypes of a VCF or BCF file (compressed or not), held as int8; the first ALT allele is counted.

        Parameters
        ----------
        field : {"GT", "DS"}
            Hard genotypes (a genotype that is missing in part is missing), or dosages.
        multiallelic : {"error", "skip"}
            What to do with variants of more than two alleles.
        region : str, optional
            As in ``1:1000-2000``, for an indexed file.

        Raises
        ------
        DependencyError
            If cyvcf2 is not installed: ``pip install "remlblup[vcf]"``.
        """
        from remlblup.relationship.genomic.files import read_vcf

        return cls(*read_vcf(path, field, multiallelic, region))

    @classmethod
    def from_text(cls, path: str | Path, *, missing: object = 5, markers: Iterable | None = None) -> Genotypes:
        """Genotypes of a text file: BLUPF90's (``id 0120215…``, or with blanks between), or a CSV with a header.

        Parameters
        ----------
        missing : number or sequence
            Codes of a missing genotype (BLUPF90: 5); of a CSV file empty cells and NA count as well.
        markers : array-like, optional
            Names of the markers; those of the header, or numbers, without.
        """
        from remlblup.relationship.genomic.files import read_text

        return cls(*read_text(path, missing, markers))

    @classmethod
    def from_zarr(cls, path: str | Path) -> Genotypes:
        """Genotypes of a Zarr store, read block by block when needed, on any machine that sees it under this path.

        Parameters
        ----------
        path : of the folder that `to_zarr` wrote, or of a store of VCF Zarr (``call_genotype``), or an address such as
            ``s3://…`` that Zarr can open

        Raises
        ------
        DependencyError
            If zarr is not installed: ``pip install "remlblup[distributed]"``.
        DataError
            If it holds no genotypes, or chunks are missing.
        """
        from remlblup.relationship.genomic.zarr_store import read_zarr

        return cls(*read_zarr(path))

    def to_zarr(self, path: str | Path) -> None:
        """Write these individuals and markers to a new Zarr store, a block at a time: 2 bits a genotype.

        Raises
        ------
        DependencyError
            If zarr is not installed: ``pip install "remlblup[distributed]"``.
        DataError
            If the folder is there already, or cannot be written.
        """
        from remlblup.relationship.genomic.zarr_store import write_zarr

        write_zarr(self, path)

    # -- sizes and parts ---------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, int]:
        """Individuals, markers."""
        return len(self.ids), len(self.markers)

    @property
    def is_dosage(self) -> bool:
        """True for imputed dosages."""
        return self._source.dosage

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        n, m = self.shape
        kind = "dosages" if self.is_dosage else "genotypes"
        return f"Genotypes({n:,} individuals x {m:,} markers, {kind} {self._source.where}, counted: {self.counted})"

    def select(self, ids: Iterable | None = None, markers: Iterable | None = None) -> Genotypes:
        """These individuals and these markers, in the order given; nothing is read or copied.

        Parameters
        ----------
        ids, markers : array-like of labels or of bool
            Booleans, one for each individual or marker, keep those that are true; a Series of them with labels as
            its index, such as ``genotypes.minor_allele_frequencies > 0.05``, is matched by these.

        Raises
        ------
        DataError
            If one is not there, or booleans are not one for each.
        """
        rows = None if ids is None else positions(self.ids, ids, "individuals")
        columns = None if markers is None else positions(self.markers, markers, "markers")
        return self._take(rows, columns)

    def _take(self, rows: np.ndarray | None, columns: np.ndarray | None) -> Genotypes:
        out = Genotypes.__new__(Genotypes)
        out._source, out.counted, out.filter_report = self._source, self.counted, None
        out.ids = self.ids if rows is None else self.ids[rows]
        out.markers = self.markers if columns is None else self.markers[columns]
        check_names(out.ids, out.markers, (len(out.ids), len(out.markers)))
        out._rows = composed(self._rows, rows)
        out._columns = composed(self._columns, columns)
        if rows is None and columns is not None and "_by_marker" in self.__dict__:
            counts, sums = self._by_marker
            out.__dict__["_by_marker"] = counts[columns], None if sums is None else sums[columns]
        return out

    def block(self, start: int, stop: int) -> np.ndarray:
        """Genotypes of markers start to stop − 1, (n, k): int8 with negative values missing, or float32 with NaN."""
        return self._source.read(self._rows, self._places(start, stop))

    def part(self, start: int, stop: int) -> Part:
        """The same markers as a part that is read where it is multiplied."""
        return self._source.part(self._rows, self._places(start, stop))

    def _places(self, start: int, stop: int) -> slice | np.ndarray:
        return slice(start, stop) if self._columns is None else self._columns[start:stop]

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[slice, np.ndarray]]:
        """The blocks of all markers in their order, each with its place."""
        m = len(self.markers)
        for start in range(0, m, size):
            place = slice(start, min(start + size, m))
            yield place, self.block(place.start, place.stop)

    def to_frame(self) -> pd.DataFrame:
        """All genotypes as one table of float32, missing as NaN: for small sets."""
        values = np.empty(self.shape, dtype=np.float32)
        for place, block in self.blocks():
            values[:, place] = block if self.is_dosage else np.where(block < 0, np.nan, block)
        return pd.DataFrame(values, index=self.ids, columns=self.markers)

    # -- statistics --------------------------------------------------------------------------------

    @cached_property
    def _tally(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]:
        """Counts of 0, 1, 2, missing (m, 4); sums of dosages (m,); missing and heterozygous by individual (n,)."""
        n, m = self.shape
        counts, sums = np.zeros((m, 4), dtype=np.int64), np.zeros(m) if self.is_dosage else None
        missing, heterozygous = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
        for place, block in self.blocks():
            if sums is not None:
                sums[place] = np.nansum(block, axis=0, dtype=np.float64)
                # Genotype counts of dosages are those of the nearest genotype.
                block = np.where(np.isnan(block), -1, np.rint(block)).astype(np.int8)
            _count(block, counts[place], missing, heterozygous)
        return counts, sums, missing, heterozygous

    @cached_property
    def _by_marker(self) -> tuple[np.ndarray, np.ndarray | None]:
        return self._tally[:2]

    @property
    def genotype_counts(self) -> pd.DataFrame:
        """Individuals with 0, 1, 2 copies and with a missing genotype, by marker (dosages: the nearest genotype)."""
        return pd.DataFrame(self._by_marker[0], index=self.markers, columns=["0", "1", "2", "missing"])

    @property
    def allele_frequencies(self) -> pd.Series:
        """Frequency of the counted allele by marker, among the genotypes that are there; NaN if none is."""
        counts, sums = self._by_marker
        alleles = counts[:, 1] + 2.0 * counts[:, 2] if sums is None else sums
        return pd.Series(_ratio(alleles, 2.0 * counts[:, :3].sum(axis=1)), index=self.markers, name="frequency")

    @property
    def minor_allele_frequencies(self) -> pd.Series:
        """min(p, 1 − p) by marker."""
        p = self.allele_frequencies
        return p.where(p <= 0.5, 1.0 - p).rename("maf")

    @property
    def call_rate_markers(self) -> pd.Series:
        """Share of the individuals with a genotype, by marker."""
        return pd.Series(1.0 - self._by_marker[0][:, 3] / len(self.ids), index=self.markers, name="call_rate")

    @property
    def call_rate_individuals(self) -> pd.Series:
        """Share of the markers with a genotype, by individual."""
        return pd.Series(1.0 - self._tally[2] / len(self.markers), index=self.ids, name="call_rate")

    @property
    def heterozygosity(self) -> pd.Series:
        """Share of heterozygous genotypes among those that are there, by individual."""
        _, _, missing, heterozygous = self._tally
        return pd.Series(_ratio(heterozygous, len(self.markers) - missing), index=self.ids, name="heterozygosity")

    @property
    def heterozygosity_markers(self) -> pd.Series:
        """Share of heterozygous genotypes among those that are there, by marker."""
        counts = self._by_marker[0]
        return pd.Series(_ratio(counts[:, 1], counts[:, :3].sum(axis=1)), index=self.markers, name="heterozygosity")

    def hwe_p_values(self) -> pd.Series:
        """P values of the exact test of Hardy-Weinberg proportions, by marker (Wigginton et al. 2005)."""
        from remlblup.relationship.genomic.hardy_weinberg import exact_p_values

        return pd.Series(exact_p_values(self._by_marker[0][:, :3]), index=self.markers, name="hwe_p_value")

    def filter(
        self,
        *,
        maf: float | None = 0.01,
        call_rate_markers: float | None = 0.9,
        call_rate_individuals: float | None = 0.9,
        hwe: float | None = None,
        monomorphic: bool = True,
    ) -> Genotypes:
        """Without the individuals and markers that fall short; `filter_report` says how many, and why.

        Individuals go first, by their call rate over all markers; then markers, judged on the individuals left.
        A value equal to its limit stays. None switches a filter off.

        Parameters
        ----------
        maf : least frequency of the rarer allele
        call_rate_markers, call_rate_individuals : least share of genotypes that are there
        hwe : least p value of `hwe_p_values`
        monomorphic : bool
            Remove markers with one allele only.

        Raises
        ------
        OptionError
            If a limit is not a number from 0 to 1 (`maf`: to 0.5).
        DataError
            If nothing is left.
        """
        from remlblup.relationship.genomic.filter import Filter

        sieve = Filter(maf, call_rate_markers, call_rate_individuals, hwe, monomorphic)
        rest = self
        if call_rate_individuals is not None:
            stay = sieve.individuals(self.call_rate_individuals.to_numpy())
            rest = self if stay.all() else self._take(np.flatnonzero(stay), None)
        stay = sieve.markers(rest._by_marker[0], rest.allele_frequencies.to_numpy())
        rest = rest._take(None, None if stay.all() else np.flatnonzero(stay))
        rest.filter_report = sieve.report
        return rest


def _count(block: np.ndarray, counts: np.ndarray, missing: np.ndarray, heterozygous: np.ndarray) -> None:
    """Count by columns on the threads at hand; the integers are the same in any order."""
    from remlblup.relationship.genomic.kernels import count

    n, k = block.shape
    parts = [slice(start, min(start + 256, k)) for start in range(0, k, 256)]
    own = [(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)) for _ in parts]
    side_by_side(count, [(block[:, p], counts[p], *o) for p, o in zip(parts, own, strict=True)])
    for a, b in own:
        missing += a
        heterozygous += b


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def as_genotypes(genotypes: object) -> Genotypes:
    """Genotypes as they are, or of a data frame with the individuals as index (`Genotypes.from_matrix`).

    Raises
    ------
    DataError
        For anything else.
    """
    if isinstance(genotypes, Genotypes):
        return genotypes
    if isinstance(genotypes, pd.DataFrame) or hasattr(genotypes, "get_column"):
        return Genotypes.from_matrix(genotypes)
    raise DataError(
        f"genotypes are needed here, not {type(genotypes).__name__}. Say whose they are: Genotypes.from_matrix(M,"
        " ids=...) with M individuals x markers, or a data frame with the individuals as index."
    )
