"""The lines of a VCF looked at before htslib parses them: what it cannot survive, or would leave out without a word.

Of a line whose chromosome the header does not declare htslib reports no error at all, and cyvcf2 hands out a record
that was never filled: to ask it for anything ends the interpreter. So every chromosome is declared first.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from remlblup.errors import DataError

# As VCF 4.3 (section 1.4.7) allows them, and <ID> for a contig of an assembly file.
_NAME = re.compile(rb"<?[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*>?")
_GZIP = b"\x1f\x8b"
# The empty block at the end of every file that bgzip has written to its end.
_LAST_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def declare_chromosomes(reader: Any, path: str | Path) -> None:
    """Add to the header of an open cyvcf2 reader the chromosomes that it does not declare.

    Raises
    ------
    DataError
        If the file is cut off, or one of its lines is no variant: blank, a comment, a second header.
    """
    file = Path(path)
    with file.open("rb") as opened:
        start = opened.read(18)
    packed = start.startswith(_GZIP)
    if packed and start[12:14] == b"BC":
        _require_last_block(file)
    declared = {name.encode() for name in reader.seqnames}
    for name in _chromosomes(file, packed, declared):
        reader.add_to_header(f"##contig=<ID={name.decode()}>")


def _require_last_block(file: Path) -> None:
    with file.open("rb") as opened:
        opened.seek(max(file.stat().st_size - len(_LAST_BLOCK), 0))
        if opened.read() != _LAST_BLOCK:
            raise DataError(
                f"{file} ends without the empty block that bgzip writes last: it was cut off, or not written to its"
                " end, and variants may be lacking. Get it again, or, if you know it to be whole, write it anew:"
                " gunzip, bgzip."
            )


def _chromosomes(file: Path, packed: bool, declared: set[bytes]) -> Iterator[bytes]:
    """The names in the lines of variants that are not declared, each once."""
    known = set(declared)
    lines = _lines_from_names(file, packed)
    columns = next(lines, (0, b""))[1].count(b"\t") + 1
    for number, line in lines:
        name = line.split(b"\t", 1)[0]
        if name not in known:
            if fault := _fault(line, name):
                raise DataError(f"line {number:,} of {file} {fault}")
            known.add(name)
            yield name
        # htslib leaves out the columns that are too many, and within a region the lines that have too few.
        if (found := line.count(b"\t") + 1) != columns:
            raise DataError(f"line {number:,} of {file} has {found:,} columns, and its line #CHROM names {columns:,}.")


def _fault(line: bytes, name: bytes) -> str:
    """What is wrong with a line that begins with an unknown name; empty if nothing is."""
    if not line.strip():
        return "is blank: remove it."
    if line.startswith(b"#"):
        return (
            f"begins with # and stands among the variants: {_shown(line)}. Files that were put one after the other are"
            " joined by bcftools concat; of a variant that is to be left out remove the line."
        )
    if not _NAME.fullmatch(name):
        return (
            f"begins with {_shown(name)}: a variant begins with the name of its chromosome, without blanks and quotes,"
            " and a tab."
        )
    return ""


def _lines_from_names(file: Path, packed: bool) -> Iterator[tuple[int, bytes]]:
    """The line #CHROM and all after it, with their numbers; none of a BCF,
    which cannot name what it does not declare."""
    try:
        with gzip.open(file) if packed else file.open("rb") as opened:
            header = True
            for number, line in enumerate(opened, start=1):
                if number == 1 and line.startswith(b"BCF"):
                    while opened.read(2**20):  # to prove the checksums of its blocks
                        pass
                    return
                header = header and not line.startswith(b"#CHROM")
                if not header:
                    yield number, line
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{file} cannot be unpacked to its end ({error}): get it again.") from None


def _shown(line: bytes) -> str:
    return repr(line.rstrip().decode(errors="replace")[:40])
