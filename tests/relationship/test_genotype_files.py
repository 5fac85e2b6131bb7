"""Files of genotypes: PLINK, VCF, text."""

from __future__ import annotations

import builtins
import shutil
import subprocess

import numpy as np
import pytest

import remlblup as rb

rng = np.random.default_rng(5)
VALUES = rng.integers(0, 3, (7, 11)).astype(np.int8)
VALUES[rng.random(VALUES.shape) < 0.2] = -127
TABLE = np.where(VALUES < 0, np.nan, VALUES)


@pytest.fixture
def bed(tmp_path):
    reader = pytest.importorskip("bed_reader", reason="bed-reader is not installed")
    path = tmp_path / "set.bed"
    reader.to_bed(
        path,
        VALUES,
        properties={
            "fid": [f"F{k % 2}" for k in range(7)],
            "iid": [f"i{k}" for k in range(7)],
            "sid": [*(f"s{k}" for k in range(10)), "."],
            "chromosome": ["1"] * 11,
            "bp_position": list(range(100, 111)),
        },
    )
    return path


def test_bed_round_trip(bed):
    g = rb.Genotypes.from_bed(bed)
    assert list(g.ids) == [f"i{k}" for k in range(7)]
    assert list(g.markers)[-2:] == ["s9", "1:110"]
    assert "A1" in g.counted
    np.testing.assert_array_equal(g.to_frame(), TABLE)
    part = g.select(ids=["i5", "i2"], markers=["s7", "s3", "1:110"])
    np.testing.assert_array_equal(part.to_frame(), TABLE[[5, 2]][:, [7, 3, 10]])
    np.testing.assert_array_equal(np.hstack([b for _, b in g.blocks(4)]) < 0, np.isnan(TABLE))


def test_bed_other_allele_and_ids(bed):
    g = rb.Genotypes.from_bed(bed.with_suffix(""), ids="FID_IID", counted="A2")
    assert list(g.ids)[:2] == ["F0_i0", "F1_i1"]
    np.testing.assert_array_equal(g.to_frame(), 2 - TABLE)


def test_bed_gives_the_matrix_of_the_same_genotypes(bed):
    held = rb.Genotypes.from_matrix(TABLE, [f"i{k}" for k in range(7)])
    a, b = rb.genomic_matrix(rb.Genotypes.from_bed(bed)), rb.genomic_matrix(held)
    np.testing.assert_array_equal(a, b)


def test_bed_errors(bed, tmp_path, monkeypatch):
    with pytest.raises(rb.DataError, match=r"no file .*none\.bed"):
        rb.Genotypes.from_bed(tmp_path / "none")
    bed.with_suffix(".fam").write_text(bed.with_suffix(".fam").read_text().replace("i3", "i2"))
    with pytest.raises(rb.DataError, match="individuals occur more than once: 'i2'"):
        rb.Genotypes.from_bed(bed)
    assert len(rb.Genotypes.from_bed(bed, ids="FID_IID")) == 7
    bed.write_bytes(b"not a bed file")
    with pytest.raises(rb.DataError, match="not a PLINK 1 binary file"):
        rb.Genotypes.from_bed(bed, ids="FID_IID")


@pytest.mark.parametrize(
    ("module", "read", "command"), [("bed_reader", "from_bed", "genomic"), ("cyvcf2", "from_vcf", "vcf")]
)
def test_a_reader_that_is_not_installed(module, read, command, monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == module:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(rb.DependencyError, match=rf'pip install "remlblup\[{command}\]"'):
        getattr(rb.Genotypes, read)(tmp_path / "x")


VCF = """##fileformat=VCFv4.2
##contig=<ID=1>
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=DS,Number=1,Type=Float,Description="Dosage">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tani\tben\teva
1\t10\trs1\tA\tC\t.\tPASS\t.\tGT:DS\t0/0:0.1\t0/1:1\t1|1:1.9
1\t20\t.\tG\tT\t.\tPASS\t.\tGT:DS\t./.:0.5\t1|0:1.25\t./1:2
"""
THIRD = "1\t30\trs3\tG\tT,A\t.\tPASS\t.\tGT:DS\t0/0:0\t1|2:1\t0/1:1\n"


def test_vcf(tmp_path):
    pytest.importorskip("cyvcf2", reason="cyvcf2 is not installed")
    path = tmp_path / "x.vcf"
    path.write_text(VCF)
    g = rb.Genotypes.from_vcf(path)
    assert list(g.ids) == ["ani", "ben", "eva"] and list(g.markers) == ["rs1", "1:20"]
    np.testing.assert_array_equal(g.to_frame(), [[0, np.nan], [1, 1], [2, np.nan]])
    dosages = rb.Genotypes.from_vcf(path, field="DS")
    np.testing.assert_allclose(dosages.to_frame(), [[0.1, 0.5], [1, 1.25], [1.9, 2]], rtol=1e-7)
    path.write_text(VCF + THIRD)
    with pytest.raises(rb.DataError, match="1 variants have more than two alleles: '1:30'"):
        rb.Genotypes.from_vcf(path)
    assert list(rb.Genotypes.from_vcf(path, multiallelic="skip").markers) == ["rs1", "1:20"]
    path.write_text("nothing")
    with pytest.raises(rb.DataError, match="not a VCF file"):
        rb.Genotypes.from_vcf(path)


def test_blupf90_text(tmp_path):
    path = tmp_path / "snp.txt"
    path.write_text("  80 0125\n8014 1110\n\n516 2 0 5 1\n")
    g = rb.Genotypes.from_text(path)
    assert list(g.ids) == ["80", "8014", "516"]
    np.testing.assert_array_equal(g.to_frame(), [[0, 1, 2, np.nan], [1, 1, 1, 0], [2, 0, np.nan, 1]])
    path.write_text("1 012\n2 01\n")
    with pytest.raises(rb.DataError, match=r"line 2 \(individual 2\) has 2 genotypes; the lines before have 3"):
        rb.Genotypes.from_text(path)
    path.write_text("1 012\n2 0x1\n")
    with pytest.raises(rb.DataError, match="line 2: expected an id"):
        rb.Genotypes.from_text(path)
    path.write_text("1 013\n")
    with pytest.raises(rb.DataError, match="individual 1, marker 3"):
        rb.Genotypes.from_text(path)


def test_csv(tmp_path):
    path = tmp_path / "snp.csv"
    path.write_text("id,m1,m2\n007,0,5\nb,,2\n")
    g = rb.Genotypes.from_text(path)
    assert list(g.ids) == ["007", "b"] and list(g.markers) == ["m1", "m2"]
    np.testing.assert_array_equal(g.to_frame(), [[0, np.nan], [np.nan, 2]])


@pytest.mark.parametrize(
    ("text", "markers"),
    [
        ("id,1,2\na,0,1\nb,1,2\n", ["1", "2"]),
        (",0,1\na,0,1\nb,1,2\n", ["0", "1"]),
        ("animal;m 1;m2\na;0;1\n\nb;1;2\n", ["m 1", "m2"]),
        ('animal,"m,1",0\na,0,1\n"b",1,2\n', ["m,1", "0"]),
        ("\ufeffid\tx\ty\r\na\t0\t1\r\nb\t1\t2\r\n", ["x", "y"]),
    ],
)
def test_csv_headers(tmp_path, text, markers):
    path = tmp_path / "snp.csv"
    path.write_bytes(text.encode())
    g = rb.Genotypes.from_text(path)
    assert g.ids.tolist() == ["a", "b"] and [str(m) for m in g.markers] == markers
    np.testing.assert_array_equal(g.to_frame(), [[0, 1], [1, 2]])


@pytest.mark.parametrize(
    "text", ["a,0,1\nb,1,2\n", "a,2,NA\nb,1,2\n", "a\t0\t\nb\t1\t2\n", "7,0.25,5\n8,1,1.5\n", "id,0,0\n"]
)
def test_csv_without_a_header(tmp_path, text):
    path = tmp_path / "snp.csv"
    path.write_text(text)
    with pytest.raises(rb.DataError, match=r"snp\.csv has no header: .* is an individual.*id and the markers"):
        rb.Genotypes.from_text(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "id,m1,m2\na,0,1\nb,1\n",
            r"1 row of .* has not as many cells as its header, 3: line 3 \(individual b\) has 2\.",
        ),
        ("id,m1,m2\na,0,1,2\n\nb,1\n", r"2 rows of .*: line 2 \(individual a\) has 4; line 4 \(individual b\) has 2"),
        ('m1,m2\n"a, b",0,1\n', r"line 2 \(individual a, b\) has 3.*that of the ids as well"),
        ("id,m1,m1\na,0,1\n", "markers occur more than once: 'm1'"),
    ],
)
def test_csv_rows_that_do_not_fit_the_header(tmp_path, text, message):
    path = tmp_path / "snp.csv"
    path.write_text(text)
    with pytest.raises(rb.DataError, match=message):
        rb.Genotypes.from_text(path)


def test_csv_that_is_not_text(tmp_path):
    path = tmp_path / "snp.csv"
    path.write_bytes(b"id,m1\n" + b"".join(b"a%d,0\n" % k for k in range(20_000)) + b"\xff\xfe,1\n")
    with pytest.raises(rb.DataError, match="cannot be read as CSV"):
        rb.Genotypes.from_text(path)


def test_a_bed_that_does_not_fit_its_other_files(bed):
    whole = bed.read_bytes()
    assert len(whole) == 3 + 11 * 2
    for content, size in ((whole[:-4], 21), (whole + b"\0", 26)):
        bed.write_bytes(content)
        with pytest.raises(
            rb.DataError,
            match=rf"set\.bed has {size} bytes; with 7 individuals in set\.fam and 11"
            r" markers in set\.bim it would have 25",
        ):
            rb.Genotypes.from_bed(bed)
    bed.write_bytes(whole[:2] + b"\0" + whole[3:])
    with pytest.raises(rb.DataError, match=r"individual by individual.*--make-bed"):
        rb.Genotypes.from_bed(bed)
    bed.write_bytes(whole)
    for suffix, message in ((".fam", "3 individuals in set.fam.*would have 14"), (".bim", "3 markers in .*have 9")):
        file = bed.with_suffix(suffix)
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(lines[:3]))
        with pytest.raises(rb.DataError, match=message):
            rb.Genotypes.from_bed(bed)
        file.write_text("".join(lines))
    np.testing.assert_array_equal(rb.Genotypes.from_bed(bed).to_frame(), TABLE)


def test_a_region_of_a_vcf_without_an_index(tmp_path):
    pytest.importorskip("cyvcf2", reason="cyvcf2 is not installed")
    path = tmp_path / "plain.vcf"
    path.write_text(VCF)
    with pytest.raises(rb.DataError, match=r"plain\.vcf cannot be read by region.*region='1:1-15'.*tabix"):
        rb.Genotypes.from_vcf(path, region="1:1-15")
    for wrong in (5, "", ["1:1-15"]):
        with pytest.raises(rb.OptionError, match="1:1000-2000"):
            rb.Genotypes.from_vcf(path, region=wrong)


@pytest.mark.skipif(not (shutil.which("bgzip") and shutil.which("tabix")), reason="bgzip and tabix make the index")
@pytest.mark.parametrize("region", [None, "1:1-100", "1:20-20"])
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\t20\tm2", "line 6 of .* has 3 columns, and its line #CHROM names 12"),
        ("1\t20\tm2\tA\tC\t.\t.\t.\tGT\t0/1\t0/1", "line 6 of .* has 11 columns"),
        ("1\t20\tm2\tA\tC\t.\t.\t.\tGT\tx/y\t0/1\t1/1", "cannot be read after"),
        ("1\t20\tm2\tA\tC\t.\t.\t.\tGT\t0/7\t0/1\t1/1", "variant 1:20 has allele 7"),
    ],
)
def test_a_malformed_line_of_a_vcf_within_a_region(tmp_path, line, message, region):
    """htslib leaves out a short line that it comes to by the index, without a word."""
    pytest.importorskip("cyvcf2", reason="cyvcf2 is not installed")
    path = tmp_path / "set.vcf"
    path.write_text(HEAD + line + "\n1\t30\tm3\tA\tC\t.\t.\t.\tGT\t0/1\t0/1\t1/1\n")
    subprocess.run(["bgzip", str(path)], check=True)
    subprocess.run(["tabix", "-p", "vcf", f"{path}.gz"], check=True)
    with pytest.raises(rb.DataError, match=message):
        rb.Genotypes.from_vcf(f"{path}.gz", region=region)


def test_haploid_calls_of_a_vcf(tmp_path):
    """As docs/genomic.md says: one ALT allele on a single chromosome counts as two."""
    pytest.importorskip("cyvcf2", reason="cyvcf2 is not installed")
    path = tmp_path / "x.vcf"
    path.write_text(VCF.replace("0/0:0.1\t0/1:1\t1|1:1.9", "0:0\t0/1:1\t1:1"))
    assert rb.Genotypes.from_vcf(path).to_frame()["rs1"].tolist() == [0, 1, 2]


# -- what files of other programs hold besides ------------------------------------------------


@pytest.mark.parametrize("between", [" ", "   ", " \t", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("suffix", [".bim", ".fam"])
def test_plink_tables_with_any_blanks_and_a_byte_order_mark(bed, between, mark, suffix):
    expected = rb.Genotypes.from_bed(bed, ids="FID_IID").to_frame()
    table = bed.with_suffix(suffix)
    lines = [between.join(line.split()) for line in table.read_text().splitlines()]
    table.write_text(mark + "\n".join(lines) + "\n", encoding="utf-8")
    found = rb.Genotypes.from_bed(bed, ids="FID_IID").to_frame()
    assert list(found.index) == list(expected.index) and list(found.columns) == list(expected.columns)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("suffix", [".bim", ".fam"])
def test_plink_tables_of_other_columns(bed, suffix):
    table = bed.with_suffix(suffix)
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], " ".join(lines[1].split()[:5]), *lines[2:]]) + "\n")
    with pytest.raises(rb.DataError, match=rf"set\{suffix} must have six columns; line 2 has 5"):
        rb.Genotypes.from_bed(bed)


@pytest.mark.parametrize("text", ["101 0120\n102 1021\n", "id,m1,m2,m3,m4\n101,0,1,2,0\n102,1,0,2,1\n"])
def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path, text):
    path = tmp_path / "markers.txt"
    path.write_text("\ufeff" + text, encoding="utf-8")
    g = rb.Genotypes.from_text(path)
    assert list(g.ids) == ["101", "102"]
    np.testing.assert_array_equal(g.to_frame(), [[0, 1, 2, 0], [1, 0, 2, 1]])


HEAD = (
    '##fileformat=VCFv4.2\n##contig=<ID=1>\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n'
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb\tc\n1\t10\tm1\tA\tC\t.\t.\t.\tGT\t0/0\t0|1\t./.\n"
)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["x/y", "0/1", "1/1"], "cannot be read after 1:10: is the next line whole"),
        (["0/x", "0/1", "1/1"], "cannot be read after 1:10"),
        (["", "0/1", "1/1"], "cannot be read after 1:10"),
        (["-1/0", "0/1", "1/1"], "cannot be read after 1:10"),
        (["0/1", "0/1"], r"line 6 of .* has 11 columns, and its line #CHROM names 12"),
        (["0/2", "0/1", "1/1"], "variant 1:20 has allele 2; it lists 2 alleles"),
        (["0/0", "9/9", "1/1"], "variant 1:20 has allele 9"),
        (["0/1/1", "0/1", "1/1"], "variant 1:20 has genotypes of more than two alleles"),
    ],
)
def test_cells_of_a_vcf_that_are_no_genotypes(tmp_path, cells, message):
    pytest.importorskip("cyvcf2", reason="cyvcf2 is not installed")
    path = tmp_path / "set.vcf"
    path.write_text(HEAD + "1\t20\tm2\tA\tC\t.\t.\t.\tGT\t" + "\t".join(cells) + "\n")
    with pytest.raises(rb.DataError, match=message):
        rb.Genotypes.from_vcf(path)
    path.write_text(HEAD)
    np.testing.assert_array_equal(rb.Genotypes.from_vcf(path).to_frame(), [[0], [1], [np.nan]])


def test_a_vcf_without_genotypes(tmp_path):
    pytest.importorskip("cyvcf2", reason="cyvcf2 is not installed")
    path = tmp_path / "set.vcf"
    path.write_text(HEAD.replace("GT", "XX").replace("0/0\t0|1\t./.", "1\t2\t3"))
    with pytest.raises(rb.DataError, match=r"variant 1:10 has no genotypes \(GT\)"):
        rb.Genotypes.from_vcf(path)


@pytest.mark.parametrize("column", ["sex", "IID", "PHENOTYPE", "Sire_ID", "dam", "animal"])
@pytest.mark.parametrize("kind", ["csv", "frame", "polars"])
def test_columns_that_are_no_markers_by_their_name(tmp_path, column, kind):
    text = f"id,m1,{column},m2\na,0,1,2\nb,1,2,0\n"
    path = tmp_path / "set.csv"
    path.write_text(text)

    def read(**options):
        if kind == "csv":
            return rb.Genotypes.from_text(path, **options)
        library = pytest.importorskip("polars" if kind == "polars" else "pandas")
        return rb.Genotypes.from_matrix(library.read_csv(path), **options)

    with pytest.raises(rb.DataError, match=f"columns '{column}' do not look like markers"):
        read()
    assert list(read(markers=["m1", column, "m2"]).markers) == ["m1", column, "m2"]
