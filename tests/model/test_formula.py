"""Formulas: what each form means, what its terms are called, and what is refused."""

from __future__ import annotations

import pytest

from remlblup.errors import FormulaError
from remlblup.model.formula import Group, RandomTerm, SmoothTerm, parse_formula


def only(text: str) -> RandomTerm | SmoothTerm:
    (term,) = parse_formula(f"y ~ x + {text}").random
    return term


@pytest.mark.parametrize(
    ("text", "name", "effects", "factors", "relationship", "structure"),
    [
        ("(1 | g)", "g", "1", ("g",), None, "id"),
        ("(1|g)", "g", "1", ("g",), None, "id"),
        ("( 1 |  g )", "g", "1", ("g",), None, "id"),
        ("(1 | a:b)", "a:b", "1", ("a", "b"), None, "id"),
        ("(1 | a:b:c)", "a:b:c", "1", ("a", "b", "c"), None, "id"),
        ("(1 + x | g)", "1 + x | g", "1 + x", ("g",), None, "us"),
        ("(x | g)", "x | g", "x", ("g",), None, "us"),
        ("(1 + x || g)", "1 + x || g", "1 + x", ("g",), None, "diag"),
        ("(x || g)", "x || g", "x", ("g",), None, "diag"),
        ("(0 + x | g)", "0 + x | g", "0 + x", ("g",), None, "us"),
        ("(-1 + x | g)", "-1 + x | g", "-1 + x", ("g",), None, "us"),
        ("diag(site | g)", "diag(site | g)", "site", ("g",), None, "diag"),
        ("us(1 + x | g)", "us(1 + x | g)", "1 + x", ("g",), None, "us"),
        ("id(site | g)", "id(site | g)", "site", ("g",), None, "id"),
        ("(1 | vm(animal, A))", "vm(animal, A)", "1", ("animal",), "A", "id"),
        ("(1 | vm(animal,A))", "vm(animal,A)", "1", ("animal",), "A", "id"),
        ("us(1 + x | vm(animal, A))", "us(1 + x | vm(animal, A))", "1 + x", ("animal",), "A", "us"),
        ("diag(site | vm(geno, G))", "diag(site | vm(geno, G))", "site", ("geno",), "G", "diag"),
        ("(poly(x, 2) | g)", "poly(x, 2) | g", "poly(x, 2)", ("g",), None, "us"),
        ("(1 | `plot no.`)", "`plot no.`", "1", ("plot no.",), None, "id"),
        ("(1 | a.b)", "a.b", "1", ("a.b",), None, "id"),
        ("(1 | größe)", "größe", "1", ("größe",), None, "id"),
    ],
)
def test_one_random_term(text, name, effects, factors, relationship, structure):
    term = only(text)
    assert (term.name, term.effects, term.structure) == (name, effects, structure)
    assert term.group == Group(factors, relationship)


@pytest.mark.parametrize(
    ("text", "effects", "structure", "options", "short"),
    [
        ("fa(site | vm(geno, G), k=2)", "site", "fa", (("k", 2),), "fa(site | vm(geno, G))"),
        ("rr( site | g ,k = 3 )", "site", "rr", (("k", 3),), "rr(site | g)"),
        ("known(trait | g, matrix=S)", "trait", "known", (("matrix", "S"),), "known(trait | g)"),
        ("us(leg(age, 2) | vm(animal, A))", "leg(age, 2)", "us", (), ""),
        ("us(trait | g)", "trait", "us", (), ""),
    ],
)
def test_options_of_a_structure(text, effects, structure, options, short):
    term = only(text)
    assert (term.effects, term.structure, term.options, term.short) == (effects, structure, options, short)


def test_nested_terms_keep_their_options():
    assert [t.name for t in parse_formula("y ~ fa(site | a/b, k=1)").random] == [
        "fa(site | a, k=1)",
        "fa(site | a:b, k=1)",
    ]


def test_factors_laid_over_each_other():
    term = only("(1 | vm(sire, A) + 0.5*vm(mgs, A))")
    assert term.name == "vm(sire, A) + 0.5*vm(mgs, A)"
    assert term.groups == (Group(("sire",), "A"), Group(("mgs",), "A", 0.5))
    assert (term.structure, term.by_factor) == ("id", False)
    assert only("(1 | g1 + g2)").groups == (Group(("g1",)), Group(("g2",)))
    assert only("(1 | g1 - .25 * g2)").groups[1].coefficient == -0.25


@pytest.mark.parametrize("structure", ["us", "diag", "cs"])
def test_correlated_effects_of_two_factors(structure):
    text = f"{structure}(vm(animal, A) + vm(dam, A))"
    term = only(text)
    assert term.by_factor
    assert (term.name, term.structure, term.groups) == (
        text,
        structure,
        (Group(("animal",), "A"), Group(("dam",), "A", effect=1)),
    )
    assert term.effect_names == ("animal", "dam")


def test_a_bracket_is_one_effect():
    term = only("us(vm(tree, A) + 2*(vm(n1, A) - 0.5*w*vm(n2, A)))")
    assert term.groups == (
        Group(("tree",), "A"),
        Group(("n1",), "A", 2.0, effect=1),
        Group(("n2",), "A", -1.0, weights=("w",), effect=1),
    )
    assert term.effect_names == ("tree", "2*n1 - w*n2")
    assert [term.may_miss(k) for k in range(3)] == [False, True, True]
    assert only("(1 | w1*a + w2*b)").groups == (Group(("a",), weights=("w1",)), Group(("b",), weights=("w2",)))


def test_smooth_terms():
    assert only("spl(x)") == SmoothTerm("spl(x)", "spl", ("x",))
    assert only("spl(x, knots=20)").options == (("knots", 20),)
    parsed = parse_formula("y ~ z + pspline(row, `col no`, knots=(8, 10))")
    assert parsed.random[0].variables == ("row", "col no")
    assert parsed.random[0].options == (("knots", (8, 10)),)
    assert parsed.fixed == "z + row + `col no` + row:`col no`"


def test_functions_that_share_a_structures_name_stay_in_the_fixed_part():
    assert parse_formula("y ~ exp(x) + cs(z, df=4) + (1 | g)").fixed == "exp(x) + cs(z, df=4)"


@pytest.mark.parametrize(
    ("text", "responses"),
    [
        ("y", ()),
        ("log(y)", ()),
        ("c(a, b)", ("a", "b")),
        ("c( `odd name` ,log(b), d)", ("odd name", "log(b)", "d")),
    ],
)
def test_responses(text, responses):
    assert parse_formula(f"{text} ~ x").responses == responses


def test_nested_factors_are_two_terms():
    first, second = parse_formula("y ~ 1 + (1 | a/b)").random
    assert (first.name, first.group.factors) == ("a", ("a",))
    assert (second.name, second.group.factors) == ("a:b", ("a", "b"))


def test_nested_three_deep_and_with_slopes():
    assert [t.name for t in parse_formula("y ~ (1 | a/b/c)").random] == ["a", "a:b", "a:b:c"]
    terms = parse_formula("y ~ (1 + x | a/b)").random
    assert [t.name for t in terms] == ["1 + x | a", "1 + x | a:b"]
    assert [t.structure for t in terms] == ["us", "us"]


def test_crossed_factors_keep_their_order():
    parsed = parse_formula("y ~ x + (1 | b) + z + (1 | a)")
    assert [t.name for t in parsed.random] == ["b", "a"]


@pytest.mark.parametrize(
    ("right", "fixed"),
    [
        ("x", "x"),
        ("1", "1"),
        ("(1 | g)", "1"),
        ("x + (1 | g)", "x"),
        ("(1 | g) + x", "x"),
        ("x + (1 | g) + z", "x + z"),
        ("0 + x + (1 | g)", "0 + x"),
        ("x - 1 + (1 | g)", "x - 1"),
        ("-1 + x", "- 1 + x"),
        ("a * b + (1 | g)", "a * b"),
        ("a:b + poly(x, 2) + (1 | g)", "a:b + poly(x, 2)"),
        ("bs(x, df=4) + C(year)", "bs(x, df=4) + C(year)"),
        ("(a + b) * c + (1 | g)", "(a + b) * c"),
        ("I(x - 1) + `odd name` + (1 | g)", "I(x - 1) + `odd name`"),
        ("(a + b)**2", "(a + b)**2"),
    ],
)
def test_fixed_part_is_left_as_it_was(right, fixed):
    squeeze = lambda s: s.replace(" ", "")  # noqa: E731
    assert squeeze(parse_formula(f"y ~ {right}").fixed) == squeeze(fixed)


def test_response_may_be_an_expression():
    assert parse_formula("log(y) ~ x").response == "log(y)"


def test_line_breaks_are_white_space():
    parsed = parse_formula("y ~ x\n  + (1 |\n g)")
    assert parsed.fixed == "x"
    assert parsed.random[0].group.factors == ("g",)


@pytest.mark.parametrize(
    ("formula", "culprit"),
    [
        ("y", "y"),
        ("~ x", "response"),
        ("y ~ x ~ z", "y ~ x ~ z"),
        ("y ~ x + (1 | g", r"\("),
        ("y ~ x + 1 | g)", r"\)"),
        ("y ~ x + [1 | g)", r"\)"),
        ("y ~ `x + (1 | g)", "`"),
        ("y ~ x + 1 | g", r"\(1 \| g\)"),
        ("y ~ (1 | g) + (1|g)", "g"),
        ("y ~ (1 | g | h)", r"1 \| g \| h"),
        ("y ~ ( | g)", r"\| g"),
        ("y ~ (1 | )", r"1 \|"),
        ("y ~ x - (1 | g)", r"\(1 \| g\)"),
        ("y ~ toeplitz9(x | g)", "toeplitz9"),
        ("y ~ us(1 + x || g)", r"us\(1 \+ x \|\| g\)"),
        ("y ~ (1 | vm(animal))", r"vm\(animal\)"),
        ("y ~ (1 | vm(animal, A, B))", r"vm\(animal, A, B\)"),
        ("y ~ (1 | a:log(vm(animal, A)))", "vm"),
        ("y ~ (1 | log(g))", r"log\(g\)"),
        ("y ~ (1 | 2g)", "2g"),
        ("y ~ x + + (1 | g)", r"\+"),
        ("y ~ x +", r"\+"),
        ("y ~ us(site | g, k=2)", "'us' has no option 'k'.*no options"),
        ("y ~ fa(site | g, rank=2)", "'fa' has no option 'rank'.*It takes: k"),
        ("y ~ fa(site | g, 2)", "'2'.*name=value"),
        ("y ~ fa(site | g, k=1, k=2)", "'k' twice"),
        ("y ~ fa(site | g, k=2+)", "'2\\+' in"),
        ("y ~ (1 | g, k=2)", "'k=2' needs a structure"),
        ("y ~ us(site)", r"'us\(site\)' needs a bar"),
        ("y ~ us(vm(animal, A))", "two or more"),
        ("y ~ us(vm(animal, A) + vm(animal, A))", "that differ"),
        ("y ~ us(vm(animal, A) + vm(dam, B))", "share one relationship.*'A', 'B'"),
        ("y ~ us(vm(animal, A) + dam)", "share one relationship.*none"),
        ("y ~ vm(animal, A)", r"\(1 \| vm\(animal, A\)\)"),
        ("y ~ (1 | vm(animal, A)/b)", "nested"),
        ("y ~ (1 | g1 + 0*g2)", "zero"),
        ("y ~ spl(x, z)", r"takes 1 covariate.*not 2"),
        ("y ~ pspline(row)", r"takes 2 covariate.*not 1"),
        ("y ~ spl(x, df=3)", "'spl' has no option 'df'"),
        ("y ~ spl(x) + spl(x)", "more than once"),
        ("c(a) ~ x", r"c\(a\).*two responses"),
        ("c(a, a) ~ x", "twice"),
    ],
)
def test_a_formula_that_cannot_be_read_says_where(formula, culprit):
    with pytest.raises(FormulaError, match=culprit):
        parse_formula(formula)


def test_a_formula_must_be_text():
    with pytest.raises(FormulaError, match="int"):
        parse_formula(5)
