"""Lines of a VCF that htslib reports nothing of, or cannot survive, are refused with their number;
sound ones are read."""

from __future__ import annotations

import gzip
import struct
import zlib

import numpy as np
import pytest

import remlblup as rb

pytest.importorskip("cyvcf2", reason="cyvcf2 is not installed")

HEADER = b'##fileformat=VCFv4.2\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n##contig=<ID=1>\n'
NAMES = b"#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\n"
LAST_BLOCK = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def variant(chromosome: bytes, position: int) -> bytes:
    return chromosome + b"\t%d\tm%d\tA\tC\t.\tPASS\t.\tGT\t0/1\t1/1\n" % (position, position)


FIRST, UNDECLARED = variant(b"1", 1), variant(b"X", 2)
REFUSED = {
    "two files in one": (HEADER + NAMES + FIRST, "line 6 .*begins with # and stands among"),
    "second line of names": (NAMES, "line 6 .*begins with #"),
    "comment": (b"# a note\n", "line 6 .*begins with #"),
    "variant commented out": (b"#" + UNDECLARED, "line 6 .*begins with #"),
    "blank": (b"\n" + FIRST, "line 6 .*is blank"),
    "blanks": (b"  \t \n" + FIRST, "line 6 .*is blank"),
    "no chromosome": (b"\t" + UNDECLARED.split(b"\t", 1)[1], "line 6 .*begins with ''"),
    "a word": (b"X\n", "line 6 .*begins with"),
    "no identifier": (b"X\t5\n", "line 6 .*2 columns, .* names 11"),
    "position of text": (UNDECLARED.replace(b"\t2\t", b"\tq\t"), "cannot be read after 1:1"),
    "position below 0": (UNDECLARED.replace(b"\t2\t", b"\t-2\t"), "cannot be read after 1:1"),
    "genotype of letters": (UNDECLARED.replace(b"1/1", b"x/y"), "cannot be read after 1:1"),
    "a genotype short": (UNDECLARED.replace(b"\t1/1", b""), "line 6 .*10 columns, .* names 11"),
    "a genotype too many": (UNDECLARED.replace(b"1/1", b"1/1\t0/0"), "line 6 .*12 columns, .* names 11"),
    "the same of a declared one": (FIRST.replace(b"1/1", b"1/1\t0/0"), "line 6 .*12 columns, .* names 11"),
    "blank in the name": (UNDECLARED.replace(b"X", b"X Y"), "line 6 .*begins with 'X Y'"),
    "quoted name": (UNDECLARED.replace(b"X", b'"X,'), "line 6 .*begins with"),
    "a zero byte": (b"\0" + UNDECLARED, "line 6 .*begins with"),
    "no text": (UNDECLARED.replace(b"X", b"\xe9"), "line 6 .*begins with"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_a_line_that_is_no_variant(tmp_path, case, packed):
    added, message = REFUSED[case]
    content = HEADER + NAMES + FIRST + added
    path = tmp_path / ("g.vcf.gz" if packed else "g.vcf")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(rb.DataError, match=message):
        rb.Genotypes.from_vcf(path)


@pytest.mark.parametrize("name", [b"X", b"chr1", b"HLA-A*01:01", b"<ctg>", b"1.2|3;=?@^_~!$%&+/", b"NC_000001.11"])
def test_chromosomes_that_the_header_does_not_declare(tmp_path, name):
    path = tmp_path / "g.vcf"
    path.write_bytes(HEADER + NAMES + FIRST + variant(name, 2) + variant(b"1", 3) + variant(name, 4))
    read = rb.Genotypes.from_vcf(path).to_frame()
    assert list(read.columns) == ["m1", "m2", "m3", "m4"]
    np.testing.assert_array_equal(read, [[1] * 4, [2] * 4])


# -- files that are cut off --------------------------------------------------------------------


def bgzip(content: bytes, size: int = 100) -> bytes:
    """Blocks as bgzip writes them (SAM specification 4.1), without the last, empty one."""
    blocks = b""
    for k in range(0, len(content), size):
        part, deflate = content[k : k + size], zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(part) + deflate.flush()
        blocks += b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25) + body
        blocks += struct.pack("<II", zlib.crc32(part), len(part))
    return blocks


def test_a_file_of_bgzip(tmp_path):
    content = HEADER + NAMES + b"".join(variant(b"1", k) for k in range(1, 41))
    path, whole = tmp_path / "g.vcf.gz", bgzip(content) + LAST_BLOCK
    path.write_bytes(whole)
    assert rb.Genotypes.from_vcf(path).to_frame().shape == (2, 40)
    blocks = bgzip(content)
    for cut in (blocks, blocks[:-60], whole[:-5]):
        path.write_bytes(cut)
        with pytest.raises(rb.DataError, match=r"g\.vcf\.gz ends without the empty block that bgzip writes last"):
            rb.Genotypes.from_vcf(path)
    path.write_bytes(blocks[:-8] + b"\0\0\0\0" + blocks[-4:] + LAST_BLOCK)  # a wrong checksum
    with pytest.raises(rb.DataError, match="cannot be unpacked to its end"):
        rb.Genotypes.from_vcf(path)


def test_a_file_of_gzip_that_is_cut_off(tmp_path):
    path = tmp_path / "g.vcf.gz"
    rng = np.random.default_rng(1)
    lines = [variant(b"1", k).replace(b"m", b"m%d_" % rng.integers(1e9)) for k in range(1, 20_000)]
    whole = gzip.compress(HEADER + NAMES + b"".join(lines))
    for cut in (whole[:-4], whole[: len(whole) // 2]):
        path.write_bytes(cut)
        with pytest.raises(rb.DataError, match=r"g\.vcf\.gz (cannot be unpacked to its end|is not a VCF file)"):
            rb.Genotypes.from_vcf(path)
