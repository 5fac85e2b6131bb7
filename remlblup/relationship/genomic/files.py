"""Readers of genotype files: PLINK .bed (bed-reader), VCF (cyvcf2), BLUPF90's text, CSV."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from remlblup.errors import DataError, DependencyError, OptionError, choose, count, some
from remlblup.linalg.threads import n_threads
from remlblup.relationship.genomic.arrays import ArraySource, unpack_matrix
from remlblup.relationship.genomic.parts import BedPart
from remlblup.relationship.genomic.paths import path_of
from remlblup.relationship.genomic.vcf_lines import declare_chromosomes

Read = tuple[Any, Iterable, Iterable, str]


class BedSource:
    """A .bed file, read through bed-reader."""

    dosage = False

    def __init__(self, bed: Any, file: Path, first_counted: bool) -> None:
        self._bed, self._path, self._first_counted = bed, str(file.resolve()), first_counted
        self.shape: tuple[int, int] = bed.shape
        self.where = f"read from {file.name}"

    def read(self, rows: np.ndarray | None, columns: slice | np.ndarray) -> np.ndarray:
        index = (slice(None) if rows is None else rows, columns)
        return self._bed.read(index=index, dtype="int8", order="F", num_threads=n_threads())

    def part(self, rows: np.ndarray | None, columns: slice | np.ndarray) -> BedPart:
        """See `arrays.Source`."""
        return BedPart(self._path, *self.shape, rows, columns, self._first_counted)


def read_bed(path: str | Path, ids: str, counted: str) -> Read:
    """See `Genotypes.from_bed`."""
    choose("ids", ids, ("IID", "FID_IID"))
    choose("counted", counted, ("A1", "A2"))
    try:
        from bed_reader import open_bed
    except ImportError:
        raise DependencyError('PLINK files are read with bed-reader: pip install "remlblup[genomic]".') from None
    file = path_of(path)
    if file.suffix != ".bed":
        file = file.with_name(file.name + ".bed")
    for suffix in (".bed", ".bim", ".fam"):
        if not file.with_suffix(suffix).exists():
            raise DataError(
                f"no file {file.with_suffix(suffix)}: a PLINK set is a .bed, a .bim and a .fam of one name."
            )
    families = _plink_table(file.with_suffix(".fam"))
    variants = _plink_table(file.with_suffix(".bim"))
    names = families[1] if ids == "IID" else [f"{f}_{i}" for f, i in zip(families[0], families[1], strict=True)]
    markers = marker_names(variants[1], variants[0], variants[3])
    try:
        bed = open_bed(
            file, iid_count=len(names), sid_count=len(markers), count_A1=counted == "A1", num_threads=n_threads()
        )
    except (ValueError, OSError) as error:
        raise DataError(f"{file} is not a PLINK 1 binary file that can be read: {error}.") from None
    _check_bed(file, len(names), len(markers))
    column = {"A1": "fifth", "A2": "sixth"}[counted]
    return (
        BedSource(bed, file, counted == "A1"),
        np.asarray(names, dtype=object),
        markers,
        f"{counted}, {column} column of the .bim",
    )


def _plink_table(file: Path) -> list[list[str]]:
    """The six columns of a .fam or .bim, set apart by any blanks."""
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DataError(f"{file} cannot be read as text: {error}.") from None
    wrong = [f"line {k} has {len(line)}" for k, line in enumerate(lines, start=1) if line and len(line) != 6]
    if wrong:
        raise DataError(f"{file} must have six columns; {'; '.join(wrong[:5])}.")
    return list(map(list, zip(*filter(None, lines), strict=True))) or [[] for _ in range(6)]


def _check_bed(file: Path, n: int, m: int) -> None:
    """Raise `DataError` unless the .bed is one byte per four individuals of each marker, after three of a header."""
    with file.open("rb") as opened:
        magic = opened.read(3)
    if magic[2:] == b"\x00":
        raise DataError(
            f"{file} holds the genotypes individual by individual, a form that PLINK has given up. Convert it: plink"
            f" --bfile {file.stem} --make-bed --out {file.stem}_new."
        )
    found, expected = file.stat().st_size, 3 + m * -(-n // 4)
    if found != expected:
        raise DataError(
            f"{file} has {found:,} bytes; with {n:,} individuals in {file.with_suffix('.fam').name} and {m:,} markers"
            f" in {file.with_suffix('.bim').name} it would have {expected:,}. Either it was cut off when copied, or the"
            " three files are not of one set: get all three again from one run of PLINK."
        )


def marker_names(names: Iterable, chromosomes: Iterable, positions: Iterable) -> np.ndarray:
    """The names, ``chromosome:position`` for those without one."""
    rows = zip(names, chromosomes, positions, strict=True)
    return np.array([f"{c}:{b}" if n in (".", "0", "", None) else str(n) for n, c, b in rows], dtype=object)


def read_vcf(path: str | Path, field: str, multiallelic: str, region: str | None) -> Read:
    """See `Genotypes.from_vcf`."""
    choose("field", field, ("GT", "DS"))
    choose("multiallelic", multiallelic, ("error", "skip"))
    if region is not None and not (isinstance(region, str) and region.strip()):
        raise OptionError(f"region={region!r} must be text such as '1:1000-2000'.")
    try:
        from cyvcf2 import VCF
    except ImportError:
        raise DependencyError('VCF files are read with cyvcf2: pip install "remlblup[vcf]".') from None
    if not path_of(path).is_file():
        raise DataError(f"no file {path}.")
    try:
        # gts012: 0, 1, 2 copies of ALT, 3 for unknown; strict_gt: ./1 is unknown.
        reader = VCF(str(path), gts012=True, strict_gt=True)
        samples = list(reader.samples)
    except Exception as error:  # cyvcf2 raises plain exceptions too
        raise DataError(f"{path} is not a VCF file that can be read: {error}.") from None
    declare_chromosomes(reader, path)
    columns, names, chromosomes, positions, several = [], [], [], [], []
    for variant in _records(_in_region(reader, path, region) if region else reader, path):
        place = f"{variant.CHROM}:{variant.POS}"
        if len(variant.ALT) > 1:
            several.append(place)
            continue
        columns.append(_vcf_column(variant, field, place))
        names.append(variant.ID)
        chromosomes.append(variant.CHROM)
        positions.append(variant.POS)
    if several and multiallelic == "error":
        raise DataError(
            f"{len(several)} variants have more than two alleles: {some(several)}. Split them, "
            "or say multiallelic='skip'."
        )
    if not columns:
        raise DataError(f"{path} holds no variant with two alleles" + (f" in {region}." if region else "."))
    values = np.array(columns).T  # each variant contiguous: column-major
    return ArraySource(values), samples, marker_names(names, chromosomes, positions), "first ALT allele"


def _records(reader: Iterable, path: str | Path) -> Iterator:
    """The variants, an error of the parser with the place of the last that could be read."""
    place, variants = "the header", iter(reader)
    while True:
        try:
            variant = next(variants)
            after = f"{variant.CHROM}:{variant.POS}"
            _ = variant.ID, variant.ALT  # text that is none shows here
        except StopIteration:
            return
        except DataError:
            raise
        except Exception:  # cyvcf2 raises plain exceptions, which do not say more
            raise DataError(
                f"{path} cannot be read after {place}: is the next line whole? A genotype is like 0/1, 1|0 or ./., and "
                "every line has one for each sample."
            ) from None
        place = after
        yield variant


def _in_region(reader: Any, path: str | Path, region: str) -> Iterator:
    try:
        yield from reader(region)
    except (AssertionError, OSError) as error:  # cyvcf2 asserts that there is an index
        raise DataError(
            f"{path} cannot be read by region ({error}): region={region!r} needs a file compressed by bgzip, with its"
            " index: bgzip FILE, then tabix -p vcf FILE.gz. Without region= the whole file is read."
        ) from None


def _vcf_column(variant: Any, field: str, place: str) -> np.ndarray:
    if field == "GT":
        try:
            types, alleles = variant.gt_types, variant.genotype.array()[:, :-1]
        except Exception:  # cyvcf2 raises plain exceptions
            raise DataError(f"variant {place} has no genotypes (GT). Use field='DS' for dosages.") from None
        if alleles.shape[1] > 2 or alleles.max(initial=0) > len(variant.ALT):
            what = "genotypes of more than two alleles" if alleles.shape[1] > 2 else f"allele {alleles.max()}"
            raise DataError(
                f"variant {place} has {what}; it lists {len(variant.ALT) + 1} alleles, of diploid individuals."
            )
        return np.where(types == 3, -1, types).astype(np.int8)
    dosage = variant.format("DS")
    if dosage is None:
        raise DataError(f"variant {place} has no field DS. Use field='GT' for the hard genotypes.")
    column = np.asarray(dosage, dtype=np.float32).reshape(len(dosage), -1)[:, 0]
    if np.any((column < 0.0) | (column > 2.0)):
        raise DataError(f"variant {place} has dosages outside of 0 to 2.")
    return column


def read_text(path: str | Path, missing: object, markers: Iterable | None) -> Read:
    """See `Genotypes.from_text`."""
    file = path_of(path)
    try:
        with file.open(encoding="utf-8-sig") as lines:
            first = lines.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text: {error}.") from None
    if "," in first or "\t" in first or ";" in first:
        frame = _csv_table(file, first, missing)
        values, ids, markers = unpack_matrix(frame, None if len(frame) else [], markers, missing)
    else:
        ids, rows = _blupf90_rows(file)
        values, ids, markers = unpack_matrix(rows, ids, markers, missing)
    return ArraySource(values), ids, markers, "as in the file"


def _csv_table(file: Path, first: str, missing: object) -> pd.DataFrame:
    """The table of a CSV file, its individuals as index."""
    mark = max(",\t;", key=first.count)
    header = _cells(first, mark)
    _require_header(file, header, missing)
    try:
        _check_rows(file, mark, len(header))
        # Names of individuals stay text: 007 is not 7.
        frame = pd.read_csv(file, sep=mark, dtype={0: str})
    except (ValueError, OSError) as error:  # also those of pandas and of the encoding
        raise DataError(f"{file} cannot be read as CSV: {error}.") from None
    frame.columns = pd.Index(header)  # pandas renames markers that occur twice
    return frame.set_index(header[0])


def _cells(line: str, mark: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=mark))]


def _require_header(file: Path, header: list[str], missing: object) -> None:
    """Raise `DataError` if the first line is genotypes: names of markers are not all
    0, 1, 2, NA or codes of missing."""
    if header[0].lower() in ("", "id") and len(set(header)) == len(header):
        return  # markers numbered 1, 2
    codes = {str(code) for code in np.atleast_1d(np.asarray([] if missing is None else missing, dtype=object))}
    if all(cell in codes or _like_genotype(cell) for cell in header[1:]):
        raise DataError(
            f"{file} has no header: its first line, {','.join(header[:6])[:60]}{'…' if len(header) > 6 else ''}, is an"
            " individual with its genotypes. Put a line with the names of the columns first: id and the markers"
            " (id,m1,m2,…)."
        )


def _like_genotype(cell: str) -> bool:
    """0, 1, 2, a dosage between, or missing."""
    try:
        return cell.lower() in ("", "na", "nan", ".") or 0.0 <= float(cell) <= 2.0
    except ValueError:
        return False


def _check_rows(file: Path, mark: str, width: int) -> None:
    """Raise `DataError` unless every row has as many cells as the header; pandas fills short rows up in silence."""
    wrong: list[str] = []
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            found = len(_cells(line, mark)) if '"' in line else line.count(mark) + 1
            if found != width and line.strip():
                wrong.append(f"line {number} (individual {_cells(line, mark)[0]}) has {found:,}")
    if wrong:
        raise DataError(
            f"{count(len(wrong), 'row')} of {file} {'has' if len(wrong) == 1 else 'have'} not as many cells as its"
            f" header, {width:,}: {'; '.join(wrong[:5])}. Every row needs an id and a cell for each"
            " marker (empty or NA if missing), the header a name for each column, that of the ids as well."
        )


def _blupf90_rows(file: Path) -> tuple[list[str], np.ndarray]:
    """Ids, and digits (n, m) as int8."""
    ids: list[str] = []
    rows: list[np.ndarray] = []
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            words = (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).split()
            if not words:
                continue
            text = b"".join(words[1:])
            if not text.isdigit():
                raise DataError(
                    f"{file}, line {number}: expected an id and genotypes 0, 1, 2 (5 for missing), found"
                    f" {line.strip()[:60].decode(errors='replace')!r}."
                )
            if rows and len(text) != len(rows[0]):
                raise DataError(
                    f"{file}, line {number} (individual {words[0].decode(errors='replace')}) has {len(text):,}"
                    f" genotypes; the lines before have {len(rows[0]):,}."
                )
            ids.append(words[0].decode(errors="replace"))
            rows.append(np.frombuffer(text, dtype=np.uint8))
    if not rows:
        raise DataError(f"{file} is empty.")
    return ids, (np.array(rows) - ord("0")).astype(np.int8)
