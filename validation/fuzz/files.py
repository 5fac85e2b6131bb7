"""Files to read, whole and broken: tables, genotypes, pedigrees, matrices; and the command line over them."""

from __future__ import annotations

import gzip
from typing import Any

from hypothesis import strategies as st

from remlblup.validation.fuzz import formulas
from remlblup.validation.fuzz.columns import TEXT

Draw = Any

CELLS = st.sampled_from(
    ["1", "2.5", "-3", "0", "g1", "g2", "g0", "NA", ".", "", "1,5", '"a"', '"a', "1e3", "é", "nan", "=1"]
)


@st.composite
def damaged(draw: Draw, content: str) -> bytes:
    """The text as bytes, with line ends, a byte order mark and injuries of any kind."""
    content = content.replace("\n", draw(st.sampled_from(["\n", "\n", "\n", "\r\n", "\r", "\n\n"])))
    data = content.encode("utf-8", "replace")
    data = draw(st.sampled_from([b"", b"", b"", b"", b"\xef\xbb\xbf", b"\xff\xfe", b"# note\n", b"\n"])) + data
    how = draw(st.sampled_from(["", "", "", "cut", "byte", "latin", "utf-16", "double", "end", "insert"]))
    place = draw(st.integers(0, max(len(data) - 1, 0)))
    match how:
        case "cut":
            return data[:place]
        case "byte":
            return data[:place] + bytes([draw(st.integers(0, 255))]) + data[place + 1 :]
        case "latin":
            return content.encode("latin-1", "replace") + b"\xe9"
        case "utf-16":
            return content.encode("utf-16", "replace")
        case "double":
            return data + data
        case "end":
            return data.rstrip()
        case "insert":
            return data[:place] + draw(TEXT).encode("utf-8", "replace") + data[place:]
    return data


@st.composite
def table_text(draw: Draw) -> bytes:
    """A table y, x, g, h in any dress."""
    sep = draw(st.sampled_from([",", ",", ",", ";", "\t", " ", "|", ", "]))
    rows = draw(st.integers(0, 24))
    names = draw(
        st.sampled_from(
            [["y", "x", "g", "h"]] * 6
            + [["y", "x", "g", "g"], ["1", "2", "3", "4"], ["y", "", "g", "h"], ["Y", "x", "g"]]
        )
    )
    lines = [sep.join(names)]
    for k in range(rows):
        cells = [f"{(k * 7919 % 31) / 4 + k % 5}", f"{k * 104729 % 17 / 2}", f"g{k % 5}", f"h{k // 6}"][: len(names)]
        if draw(st.integers(0, 12)) == 0:
            cells[draw(st.integers(0, len(cells) - 1))] = draw(CELLS)
        if draw(st.integers(0, 40)) == 0:
            cells = [*cells, "1"] if draw(st.booleans()) else cells[:-1]
        lines.append(sep.join(cells))
    return draw(damaged("\n".join(lines) + "\n"))


@st.composite
def tables(draw: Draw) -> str:
    """A table as data=."""
    name = draw(st.sampled_from(["d.csv"] * 6 + ["d.tsv", "d.txt", "d", "d.csv.gz", "d.parquet", "d.xlsx", "d.zip"]))
    formula = draw(
        st.sampled_from(
            ["y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | h)", "y ~ g + (1 | h)", "y ~ (x | g)", "x ~ y + (1 | h)"]
        )
    )
    return (
        f"write({name!r}, {draw(table_text())!r})\n"
        f"checked(rb.MixedModel({formula!r}, {name!r}).fit(progress=False, max_iterations=20, starts=1))\n"
    )


@st.composite
def genotype_files(draw: Draw) -> str:
    """Genotypes as text, VCF and PLINK files."""
    n, m = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    codes = st.sampled_from(["0", "1", "2", "0", "1", "2", "NA", "5", "-9", "", "x", "1.5", "0.3"])
    plain = st.sampled_from(["0", "1", "2"])
    kind = draw(st.sampled_from(["text", "text", "vcf", "vcf", "bed", "raw"]))
    tools = "G = {}\nA = rb.genomic_relationship(G)\nA.dense()\nstr(G)\n"
    wild = draw(st.booleans())
    if kind in ("text", "raw"):
        sep = draw(st.sampled_from([",", " ", "\t", ";"]))
        head = ["FID", "IID", "PAT", "MAT", "SEX", "PHENOTYPE"] if kind == "raw" else ["id"]
        lines = [sep.join([*head, *(f"m{j}" for j in range(m))])]
        lines += [
            sep.join([f"a{i}"] * len(head) + [draw(codes if wild else plain) for _ in range(m)]) for i in range(n)
        ]
        name = draw(st.sampled_from(["g.csv", "g.txt", "g.raw"]))
        return f"write({name!r}, {draw(damaged(chr(10).join(lines) + chr(10)))!r})\n" + tools.format(
            f"rb.Genotypes.from_text({name!r})"
        )
    if kind == "vcf":
        alleles = st.sampled_from(["0/0", "0/1", "1/1", "./.", "0|1", "x/y", "1/2", "0", ".", "0/1:3", "", "9/9"])
        sound = st.sampled_from(["0/0", "0/1", "1/1"])
        lines = ["##fileformat=VCFv4.2", '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">', "##contig=<ID=1>"]
        lines += [
            "\t".join(
                ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *(f"a{i}" for i in range(n))]
            )
        ]
        for j in range(m):
            fixed = [
                draw(st.sampled_from(["1"] * 6 + ["X", "chr 1"] if wild else ["1", "1", "X"])),
                str(j + 1),
                draw(st.sampled_from([f"m{j}", ".", "m0"])),
                "A",
                draw(st.sampled_from(["C", "C", "C,G", ".", "C"])),
                ".",
                "PASS",
                ".",
                "GT",
            ]
            lines.append("\t".join([*fixed, *(draw(alleles if wild else sound) for _ in range(n))]))
        content, name = draw(damaged("\n".join(lines) + "\n")), draw(st.sampled_from(["g.vcf"] * 3 + ["g.vcf.gz"]))
        if name.endswith(".gz"):
            content = gzip.compress(content, mtime=0)[: draw(st.sampled_from([None, None, -1, -9, -30]))]
        return f"write({name!r}, {content!r})\n" + tools.format(f"rb.Genotypes.from_vcf({name!r})")
    blank = draw(st.sampled_from(["\t", " ", "  "]))
    bim = "\n".join(blank.join(["1", f"m{j}", "0", str(j), "A", "C"]) for j in range(m)) + "\n"
    fam = "\n".join(blank.join([f"f{i}", f"a{i}", "0", "0", "0", "-9"]) for i in range(n)) + "\n"
    body = bytes([0x6C, 0x1B, 0x01]) + bytes(
        draw(st.lists(st.integers(0, 255), min_size=0, max_size=m * ((n + 3) // 4) + 2))
    )
    whole = bytes([0x6C, 0x1B, 0x01]) + bytes([0b11100010] * (m * ((n + 3) // 4)))
    return (
        f"write('g.bed', {draw(st.sampled_from([whole, whole, body]))!r})\nwrite('g.bim', {draw(damaged(bim))!r})\n"
        f"write('g.fam', {draw(damaged(fam))!r})\n" + tools.format("rb.Genotypes.from_bed('g.bed')")
    )


@st.composite
def pedigree_text(draw: Draw) -> bytes:
    """A pedigree file."""
    n = draw(st.integers(0, 8))
    sep = draw(st.sampled_from([",", ",", " ", "\t", ";"]))
    names = draw(
        st.sampled_from(
            [["id", "sire", "dam"]] * 5
            + [["animal", "father", "mother"], ["a", "b", "c"], ["dam", "id", "sire"], ["id", "sire"]]
        )
    )
    parent = st.sampled_from(["0", "0", "NA", "", "g0", "g1", "g2", "g3", "g9"])
    lines = [sep.join(names)]
    for k in range(n):
        sound = {
            "id": f"g{k}",
            "sire": f"g{k - 2}" if k > 2 and k % 2 else "0",
            "dam": f"g{k - 3}" if k > 3 and k % 2 else "0",
        }
        cells = (
            list(sound.values())
            if draw(st.integers(0, 5))
            else [f"g{draw(st.integers(0, n))}", draw(parent), draw(parent)]
        )
        lines.append(sep.join(cells[: len(names)]))
    return draw(damaged("\n".join(lines) + "\n"))


@st.composite
def matrix_text(draw: Draw) -> bytes:
    """A matrix file: square with names, or level, level, value."""
    n = draw(st.integers(1, 5))
    if draw(st.booleans()):
        lines = [",".join(["", *(f"g{k}" for k in range(n))])]
        lines += [
            ",".join(
                [f"g{i}", *("1" if i == j else draw(st.sampled_from(["0.1"] * 6 + ["x", "", "9"])) for j in range(n))]
            )
            for i in range(n)
        ]
    else:
        lines = ["row,col,value", *(f"g{i},g{j},{1 if i == j else 0.1}" for i in range(n) for j in range(i + 1))]
    return draw(damaged("\n".join(lines) + "\n"))


@st.composite
def pedigree_files(draw: Draw) -> str:
    """A pedigree or a matrix in a file, named in relationships=."""
    content = draw(st.one_of(pedigree_text(), pedigree_text(), matrix_text()))
    name = draw(st.sampled_from(["p.csv", "p.txt", "p.ped", "p"]))
    return (
        f"write({name!r}, {content!r})\n"
        "d = pd.DataFrame({'id': ['g%d' % (k % 5) for k in range(20)], 'y': "
        "np.random.default_rng(2).normal(size=20).round(2)})\nchecked(rb.MixedModel('y ~ 1 + (1 | vm(id, A))', d, "
        f"{{'A': {name!r}}}).fit(progress=False, max_iterations=20, starts=1))\n"
    )


@st.composite
def clicks(draw: Draw) -> str:
    """Command lines."""
    files = (
        f"write('d.csv', {draw(table_text())!r})\nwrite('p.csv', {draw(pedigree_text())!r})\n"
        f"write('K.csv', {draw(matrix_text())!r})\n"
    )
    command = draw(st.sampled_from(["fit", "fit", "fit", "blup", "blup"]))
    formula = draw(
        st.one_of(
            st.sampled_from(["y ~ x + (1 | g)", "y ~ x + (1 | vm(g, A))", "y ~ 1 + (1 | vm(g, K))"]), formulas.jumbled()
        )
    )
    arguments = [command, draw(st.sampled_from(["d.csv"] * 8 + ["p.csv", "nothing.csv", ".", "", "d.csv "])), formula]
    value = st.sampled_from(
        [
            "g=1",
            "residual=1",
            "g=-1",
            "g=x",
            "=",
            "g",
            "x=1e400",
            "vm(g, A)=1",
            "g=[[1,2],[2,1]]",
            "",
            "residual=0",
            "g=nan",
        ]
    )
    free = {
        "--pedigree": ["A=p.csv", "A=", "A", "=p.csv", "A=nothing"], "--relationship": ["K=K.csv", "K=d.csv", "K"],
        "--inverse": ["K", "Z"], "--residual": formulas.RESIDUALS, "--weights": ["x", "y", "g", ""],
        "--factor": ["x", "g,x", "q", ","], "--missing": ["drop", "error", "x"],
        "--engine": ["dense", "sparse", "spectral", "x"], "--sep": [",", ";", "", "\\t", "ab"],
        "--unknown-parents": ["keep", "drop", "error", "g", ""], "--genotypes": ["A=d.csv", "A=K.csv"],
        "--groups": ["g1", "0"], "--pedigree-columns": ["id,sire,dam", "id", ",,", "a,b,c"],
    }  # fmt: skip
    for option in draw(st.lists(st.sampled_from(list(free)), max_size=3, unique=True)):
        arguments += [option, draw(st.sampled_from(free[option]))]
    if command == "blup":
        arguments += [
            "--variances",
            *draw(st.sampled_from([["g=1", "residual=1"], ["vm(g, A)=1", "residual=2"]])),
            *draw(st.lists(value, max_size=1)),
        ]
    else:
        own = {
            "--method": ["REML", "ml", "x"],
            "--algorithm": ["ai", "em", "x"],
            "--max-iterations": ["3", "0", "-1", "x"],
            "--tolerance": ["1e-3", "0", "x", "nan"],
        }
        for option in draw(st.lists(st.sampled_from(list(own)), max_size=2, unique=True)):
            arguments += [option, draw(st.sampled_from(own[option]))]
        for option in draw(st.lists(st.sampled_from(["--start", "--fix", "--function"]), max_size=2, unique=True)):
            arguments += [
                option,
                draw(value)
                if option != "--function"
                else draw(st.one_of(formulas.function(), formulas.function().map(lambda t: f"h={t}"))),
            ]
        arguments += draw(st.sampled_from([[], [], ["--no-constrain"], ["--quiet"], ["--nothing"]]))
    if draw(st.integers(0, 9)) == 0:
        arguments += ["--out", draw(st.sampled_from(["o", "d.csv", "o/p", "", "d.csv/x"]))]
    return f"{files}command({', '.join(map(repr, arguments))})\n"
