"""Columns of data frames as source text: tame ones, and ones of every type and ill that tables come with."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Draw = Any

NUMBERS = st.one_of(st.integers(-9, 9).map(float), st.floats(-100.0, 100.0).map(lambda v: round(v, 3)))
WILD = st.sampled_from([1e160, -1e200, 1e-160, 1e300, 5e-324, 1e50, 1e-50, float("inf"), float("nan"), 2.0**53, 1e16])
TEXT = st.sampled_from(["", "  ", "NA", "nan", "None", "1,5", "1e3 ", "1,234.5", "x", "0", "-", ".", "1_000", "½", "٣",
                        "=1+1", "TRUE", "a b", "a:b", "a,b", "(a)", "`a`", "é", "\ufeff", "a\nb", "\0", "'", '"', "\\",
                        "9" * 30])  # fmt: skip
ODD = st.one_of(NUMBERS, WILD, TEXT, st.none(), st.booleans())
NULLABLE = ["Int64", "Float64", "boolean", "string", "category", "object", "float32", "int8", "Sparse[float]",
            "string[pyarrow]", "int64[pyarrow]", "double[pyarrow]", "bool[pyarrow]", "datetime64[ns]",
            "datetime64[ns, UTC]", "timedelta64[ns]", "complex128", "UInt8", "float16", "period[D]"]  # fmt: skip


def shown(values: object) -> str:
    """Values as source."""
    return repr(values).replace("nan", "np.nan").replace("'np.nan'", "'nan'").replace("inf", "np.inf")


@st.composite
def numbers(draw: Draw, n: int) -> str:
    """A covariate: distinct numbers, few, whole, or one value."""
    kind = draw(st.sampled_from(["any"] * 6 + ["few", "few", "whole", "constant", "tiny", "large", "line"]))
    match kind:
        case "few":
            return shown(draw(st.lists(st.sampled_from([0.0, 1.0, 2.5]), min_size=n, max_size=n)))
        case "whole":
            return shown(draw(st.lists(st.integers(-3, 12), min_size=n, max_size=n)))
        case "constant":
            return shown([draw(NUMBERS)] * n)
        case "line":
            return f"list(range({n}))"
        case "tiny" | "large":
            values = draw(st.lists(NUMBERS, min_size=n, max_size=n))
            return f"list(np.array({shown(values)}) * {1e-12 if kind == 'tiny' else 1e12})"
    return shown(draw(st.lists(NUMBERS, min_size=n, max_size=n)))


@st.composite
def labels(draw: Draw, n: int, most: int = 6) -> str:
    """A factor: text, numbers, balanced or not, one level or as many as records."""
    kind = draw(st.sampled_from(["text"] * 4 + ["cycle", "cycle", "cycle", "numbers", "one", "all"]))
    k = draw(st.integers(2, most))
    match kind:
        case "cycle":
            return f"['g%d' % (i % {k}) for i in range({n})]"
        case "one":
            return f"['only'] * {n}"
        case "all":
            return f"['g%d' % i for i in range({n})]"
        case "numbers":
            return shown(draw(st.lists(st.integers(0, k), min_size=n, max_size=n)))
    return shown([f"g{i}" for i in draw(st.lists(st.integers(0, k), min_size=n, max_size=n))])


@st.composite
def odd(draw: Draw, n: int) -> str:
    """A column of any type, with any cells."""
    kind = draw(
        st.sampled_from(
            ["cell", "cell", "cell", "cells", "type", "type", "type", "mixed", "missing", "masked", "dates", "nested"]
        )
    )
    values = draw(st.lists(NUMBERS, min_size=n, max_size=n))
    if kind in ("cell", "cells"):
        for _ in range(1 if kind == "cell" else draw(st.integers(2, 4))):
            if n:
                values[draw(st.integers(0, n - 1))] = draw(ODD)
        return shown(values)
    if kind == "type":
        whole = [int(v) % 3 for v in values]
        kind = draw(st.sampled_from(NULLABLE))
        source = (
            whole if kind not in ("Float64", "double[pyarrow]", "float32", "Sparse[float]", "complex128") else values
        )
        if kind in ("boolean", "bool[pyarrow]"):
            source = [bool(v) for v in whole]
        holes = (
            draw(st.integers(0, 2)) if kind in ("Int64", "Float64", "boolean", "string", "category", "object") else 0
        )
        text = f"pd.Series({shown(source)}).astype({kind!r})"
        return f"{text}.where(pd.Series(np.arange({n}) % 7 >= {holes}))" if holes else text
    if kind == "mixed":
        return shown(draw(st.lists(ODD, min_size=n, max_size=n)))
    if kind == "missing":
        return draw(
            st.sampled_from([f"[None] * {n}", f"[np.nan] * {n}", f"[pd.NA] * {n}", f"[pd.NaT] * {n}", f"['NA'] * {n}"])
        )
    if kind == "masked":
        return f"np.ma.masked_array({shown(values)}, mask=[i % 5 == 1 for i in range({n})])"
    if kind == "dates":
        zone = draw(st.sampled_from(["None", "'UTC'", "'Europe/Berlin'"]))
        return f"pd.date_range('2020-01-01', periods={n}, freq='D', tz={zone})"
    cell = draw(
        st.sampled_from(
            ["[1, 2]", "{'a': 1}", "np.ones(2)", "pd.Interval(0, 1)", "b'x'", "1j", "pd.Timestamp('2020')", "object()"]
        )
    )
    return f"[{cell} for _ in range({n})]"


@st.composite
def frame(draw: Draw, n: int, wild: bool = True, response: str | None = None) -> str:
    """A frame with y, x, z, w, g, h, f, t; of a wild one some columns are odd, doubled, or named oddly."""
    columns = {
        "y": response or draw(numbers(n)),
        "x": draw(numbers(n)),
        "z": draw(numbers(n)),
        "w": f"list(1.0 + np.arange({n}) % 3)",
        "g": draw(labels(n)),
        "h": draw(labels(n)),
        "f": draw(labels(n, 3)),
        "t": f"[i % 4 for i in range({n})]",
    }
    if wild:
        for name in draw(st.lists(st.sampled_from(list(columns)), max_size=2)):
            columns[name] = draw(odd(n))
    body = ", ".join(f"{name!r}: {text}" for name, text in columns.items())
    text = f"pd.DataFrame({{{body}}})"
    if wild:
        text += draw(st.sampled_from([""] * 14 + [
            ".rename(columns={'x': 3, 'z': 1.5})", ".rename(columns={'x': ('a', 'b')})", ".rename(columns={'z': 'x'})",
            ".iloc[::-1]", ".set_index('g', drop=False)", ".set_index(['g', 'h'], drop=False)", ".iloc[:0]",
            ".iloc[:1]", ".iloc[:2]", ".to_dict('list')", ".to_dict('records')", ".to_records()", ".convert_dtypes()",
            ".convert_dtypes(dtype_backend='pyarrow')", ".T.T", ".astype(object)", ".astype('category')",
            ".astype(str)", ".rename(columns={'x': ''})", ".rename(columns={'x': 'x y'})",
            ".set_axis(pd.Index([0] * {n}), axis=0)".replace("{n}", str(n)), ".to_numpy()",
            ".rename(columns={'x': None})",
        ]))  # fmt: skip
    return text
