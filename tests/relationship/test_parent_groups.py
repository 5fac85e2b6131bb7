"""Groups of unknown parents: fractions, the QP transformation, random groups, metafounders."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pedigrees import grouped, kinship_matrix, numbered_pedigrees

import remlblup as rb
from remlblup.errors import PedigreeError, RelationshipError
from remlblup.relationship.descent import numerator
from remlblup.relationship.pedigree.pedigree import Pedigree

# Mrode, Linear Models, 3rd ed., example 3.4: unknown sires are of group G1, unknown dams of G2.
MRODE_GROUPS = {
    "ids": [1, 2, 3, 4, 5, 6, 7, 8],
    "sires": ["G1", "G1", "G1", 1, 3, 1, 4, 3],
    "dams": ["G2", "G2", "G2", "G2", 2, 2, 5, 6],
    "groups": ["G1", "G2"],
}


@st.composite
def grouped_pedigrees(draw):
    sire, dam = draw(numbered_pedigrees(max_size=14))
    g = draw(st.integers(1, 3))
    assume((sire < 0).sum() + (dam < 0).sum() >= g)
    groups = [f"g{k}" for k in range(g)]
    ids, sires, dams = grouped(sire, dam, groups, draw(st.integers(0, 99)))
    order = draw(st.permutations(range(len(ids))))
    ped = Pedigree(*([column[k] for k in order] for column in (ids, sires, dams)), groups=groups)
    root = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(g, g + 2))
    gamma = root @ root.T / (3 * g + 6)
    return ped, gamma / max(1.0, np.diag(gamma).max() / 1.5)


def fractions_by_definition(ped):
    """Q by walking up the pedigree of labels."""
    label = {name: k for k, name in enumerate(ped.labels)}

    def shares(k):
        total = np.zeros(len(ped.groups))
        for parent, group in ((ped.sire, ped.sire_group), (ped.dam, ped.dam_group)):
            total += 0.5 * (np.eye(len(ped.groups))[group[k]] if parent[k] < 0 else shares(parent[k]))
        return total

    return np.array([shares(k) for k in label.values()])


def qp_solution():
    """Sexes, G1 (set to zero), G2 and animals of Mrode's example, from the QP equations solved densely."""
    precision = Pedigree(**MRODE_GROUPS).group_precision()
    assert precision.labels.tolist() == ["G1", "G2", 1, 2, 3, 4, 5, 6, 7, 8]
    X = np.array([[1, 0], [0, 1], [0, 1], [1, 0], [1, 0]], dtype=float)  # males, females
    Z = np.zeros((5, 10))
    Z[np.arange(5), 5 + np.arange(5)] = 1.0
    y = np.array([4.5, 2.9, 3.9, 3.5, 5.0])
    W = np.hstack([X, Z])
    C = W.T @ W
    C[2:, 2:] += 2.0 * precision.matrix.toarray()  # 40 / 20
    free = np.delete(np.arange(12), 2)
    solution = np.zeros(12)
    solution[free] = np.linalg.solve(C[np.ix_(free, free)], (W.T @ y)[free])
    return solution


def test_mrode_animal_model_with_groups():
    """Mrode, 3rd ed., section 17.4, the groups of example 3.4 without a constraint ("at convergence"): to 3 decimals.

    (The column with the constraint of example 3.4 does not solve the equations: its sexes differ by 1.147, not 1.145.)
    """
    animals = [0.182, 0.026, -0.014, -0.319, -0.150, 0.221, -0.389, 0.181]
    book = np.array([4.509, 3.364, 0.949, -0.820, *animals])
    level = np.array([1.0, 1.0, *np.full(10, -1.0)])  # can be added: groups and animals against the sexes
    gap = (book - qp_solution()) * level
    assert np.ptp(gap) < 1.05e-3
    np.testing.assert_allclose(gap, gap.min() + 0.5 * np.ptp(gap), atol=5.3e-4)


def test_groups_in_X_give_the_qp_solution():
    """Animals of the QP equations are û + Qĝ of the model with Q in X (Quaas 1988)."""
    ped = Pedigree(**MRODE_GROUPS)
    Q = ped.group_fractions
    assert Q.loc[4].tolist() == [0.25, 0.75]
    assert Q.loc[7].to_list() == [0.375, 0.625]
    y = np.array([4.5, 2.9, 3.9, 3.5, 5.0])
    Z = np.zeros((5, 8))
    Z[np.arange(5), 3 + np.arange(5)] = 1.0
    X = np.column_stack([[1, 0, 0, 1, 1], [0, 1, 1, 0, 0], Z @ Q["G2"]])  # G1 = 0
    V = 20 * Z @ ped.dense() @ Z.T + 40 * np.eye(5)
    beta = np.linalg.solve(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y))
    u = 20 * ped.dense() @ Z.T @ np.linalg.solve(V, y - X @ beta)
    solution = qp_solution()
    np.testing.assert_allclose(solution[[0, 1, 3]], beta, atol=1e-9)
    np.testing.assert_allclose(solution[4:], u + Q["G2"].to_numpy() * beta[2], atol=1e-9)


@pytest.mark.parametrize("frame", ["nadiv.Mrode3.csv", "nadiv.Q1988.csv", "nadiv.F2009.csv"])
def test_groups_listed_as_rows(reference, frame):
    table = pd.read_csv(reference(frame), dtype=str)
    groups = [g for g in ("g1", "g2", "g3") if g in set(table.iloc[:, 0])]
    id_column = table.columns[0]
    ped = Pedigree.from_frame(table, id=id_column, sire="sireGG", dam="damGG", groups=groups)
    assert ped.groups.tolist() == groups
    assert not set(groups) & set(ped.labels)
    np.testing.assert_allclose(ped.group_fractions.to_numpy(), fractions_by_definition(ped), atol=1e-15)
    if "Q1988" in frame:  # by hand from the pedigree of Quaas (1988)
        assert ped.group_fractions.loc[["A", "B", "C", "D"], "g2"].tolist() == [0.5, 0.75, 0.5, 0.625]


def test_mrode3_animals_are_those_without_groups(reference):
    import json

    answer = json.loads(reference("nadiv.Mrode3.relationship.json").read_text())
    table = pd.read_csv(reference("nadiv.Mrode3.csv"), dtype=str)
    ped = Pedigree.from_frame(table, id="calf", sire="sireGG", dam="damGG", groups=["g1", "g2"])
    keep = [k for k, label in enumerate(answer["ids"]) if not label.startswith("g")]
    ids = [answer["ids"][k] for k in keep]
    at = ped.index(ids)
    np.testing.assert_allclose(ped.dense(ids), np.array(answer["A"])[np.ix_(keep, keep)], atol=1e-12)
    np.testing.assert_allclose(
        ped.precision.toarray()[np.ix_(at, at)], np.array(answer["Ainv"])[np.ix_(keep, keep)], atol=1e-11
    )


@settings(deadline=None, max_examples=60)
@given(grouped_pedigrees())
def test_fractions_and_qp_against_dense_algebra(case):
    ped, gamma = case
    Q = fractions_by_definition(ped)
    np.testing.assert_allclose(ped.group_fraction_matrix.toarray(), Q, atol=1e-14)
    np.testing.assert_allclose(Q.sum(axis=1), 1.0, atol=1e-14)
    A = kinship_matrix(ped.sire, ped.dam)
    np.testing.assert_allclose(ped.dense(), A, atol=1e-13)
    inverse = np.linalg.inv(A)
    expected = np.block([[Q.T @ inverse @ Q, -Q.T @ inverse], [-inverse @ Q, inverse]])
    np.testing.assert_allclose(ped.group_precision().matrix.toarray(), expected, atol=1e-10)

    random = ped.with_random_groups(pd.DataFrame(gamma, ped.groups, ped.groups).iloc[::-1, ::-1])
    K = np.block([[gamma, gamma @ Q.T], [Q @ gamma, A + Q @ gamma @ Q.T]])
    check_relationship(random, K)
    expected[: len(gamma), : len(gamma)] += np.linalg.inv(gamma)
    np.testing.assert_allclose(random.precision.toarray(), expected, atol=1e-8 * np.abs(expected).max())


def check_relationship(relationship, K):
    """Every member of a relationship against its dense K."""
    np.testing.assert_allclose(relationship.dense(), K, atol=1e-12)
    np.testing.assert_allclose(relationship.diagonal, np.diag(K), atol=1e-12)
    inverse = relationship.precision.toarray()
    np.testing.assert_allclose(inverse @ K, np.eye(len(K)), atol=1e-9 * max(1.0, np.abs(inverse).max()))
    assert relationship.logdet == pytest.approx(np.linalg.slogdet(K)[1], abs=1e-8)
    V = np.random.default_rng(1).normal(size=(len(K), 2))
    np.testing.assert_allclose(relationship.multiply(V), K @ V, atol=1e-11)
    np.testing.assert_allclose(relationship.multiply(V[:, 0]), K @ V[:, 0], atol=1e-11)
    assert relationship.index(relationship.labels).tolist() == list(range(len(K)))


def metafounder_matrix_by_recursion(ped, gamma):
    """A^Γ from the definition: relationships average over parents, pools being related by Γ."""
    from functools import cache

    g = len(gamma)
    parents = [None] * g + [
        tuple(p + g if p >= 0 else group for p, group in ((s, sg), (d, dg)))
        for s, d, sg, dg in zip(ped.sire, ped.dam, ped.sire_group, ped.dam_group, strict=True)
    ]

    @cache
    def a(i, j):
        if i < j:
            i, j = j, i
        if i < g:
            return gamma[i, j]
        s, d = parents[i]
        return 1.0 + 0.5 * a(s, d) if i == j else 0.5 * (a(s, j) + a(d, j))

    return np.array([[a(i, j) for j in range(len(parents))] for i in range(len(parents))])


@settings(deadline=None, max_examples=60)
@given(grouped_pedigrees())
def test_metafounders_against_recursion(case):
    ped, gamma = case
    expected = metafounder_matrix_by_recursion(ped, gamma)
    meta = ped.with_metafounders(gamma)
    assert meta.labels.tolist() == [*ped.groups, *ped.labels]
    check_relationship(meta, expected)
    np.testing.assert_allclose(meta.inbreeding, np.diag(expected) - 1.0, atol=1e-13)
    some = list(meta.labels[::2])
    at = meta.index(some)
    np.testing.assert_allclose(meta.dense(some), expected[np.ix_(at, at)], atol=1e-12)


def test_one_metafounder_is_a_line_in_gamma():
    """With one pool of self-relationship γ, A^γ = (1 − γ/2) A + γ 11' (Legarra et al. 2015, eq. 8)."""
    ids, sires, dams = list("abcdef"), ["p", "p", "a", "a", "c", "c"], ["p", "p", "b", "b", "d", "d"]
    ped = Pedigree(ids, sires, dams, groups=["p"])
    gamma = 0.4
    expected = (1 - gamma / 2) * ped.dense() + gamma
    np.testing.assert_allclose(ped.with_metafounders(gamma).dense()[1:, 1:], expected, atol=1e-14)


def test_compiled_route_with_metafounders_and_selfing():
    from pedigrees import random_pedigree

    sire, dam = random_pedigree(1800, 4)
    g = 3
    rng = np.random.default_rng(1)
    first = lambda p: np.concatenate([np.full(g, -1), np.where(p >= 0, p + g, rng.integers(g, size=len(p)))])  # noqa: E731
    sire, dam = first(sire), first(dam)
    gamma = np.array([[0.6, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.3, 0.8]])
    left = np.where(rng.random(len(sire)) < 0.3, 0.25, 1.0)
    left[:g] = 1.0
    for options in ({"gamma": gamma}, {"left": left}, {"gamma": gamma, "left": left}):
        plain = numerator.inbreeding(sire, dam, "tabular", **options)
        np.testing.assert_allclose(numerator.inbreeding(sire, dam, "columns", **options), plain, atol=1e-12)
        assert plain[g:].min() >= -1e-15
    d = rng.uniform(0.5, 1.0, len(sire))
    plain = numerator.parental_kinship(sire, dam, "tabular", variance=d)
    np.testing.assert_allclose(numerator.parental_kinship(sire, dam, "columns", variance=d), plain, atol=1e-12)


def test_errors_name_groups_and_animals():
    def ped(sires, dams, groups):
        return Pedigree(["x", "y"], sires, dams, groups=groups)

    with pytest.raises(PedigreeError, match=r"2 animals have a parent that is neither known nor of a group: 'x', 'y'"):
        ped(["g1", None], [None, "g1"], ["g1"])
    with pytest.raises(PedigreeError, match=r"No animal has a parent in these groups: 'g9'"):
        ped(["g1", "g1"], ["g1", "g1"], ["g1", "g9"])
    with pytest.raises(PedigreeError, match=r"cannot have parents: 'x'"):
        ped([None, "x"], ["g1", "g1"], ["x", "g1"])
    with pytest.raises(PedigreeError, match="names a group twice"):
        ped(["g1", "g1"], ["g1", "g1"], ["g1", "g1"])
    with pytest.raises(PedigreeError, match="groups= is empty"):
        ped([None, None], [None, None], [])
    plain = Pedigree(["x"], [None], [None])
    for call in (lambda: plain.group_fractions, plain.group_precision, lambda: plain.with_metafounders(0.1)):
        with pytest.raises(PedigreeError, match="no groups of unknown parents"):
            call()
    two = ped(["g1", "g2"], ["g1", "x"], ["g1", "g2"])
    with pytest.raises(RelationshipError, match=r"2 groups 'g1', 'g2'; its shape is \(1, 1\)"):
        two.with_metafounders(np.eye(1))
    with pytest.raises(RelationshipError, match="no row and column for these groups: 'g2'"):
        two.with_random_groups(pd.DataFrame([[1.0]], ["g1"], ["g1"]))
    with pytest.raises(RelationshipError, match="not positive definite"):
        two.with_random_groups(0.0)
    with pytest.raises(RelationshipError, match="2 or more: 'g1', 'g2'"):
        two.with_metafounders(2.0)
    for bad in (np.inf, -np.inf, np.nan, [[1.0, np.inf], [np.inf, 1.0]]):
        for made in (two.with_random_groups, two.with_metafounders):
            with pytest.raises(RelationshipError, match="finite numbers"):
                made(bad)


def test_groups_in_a_model():
    """Random groups are levels of vm(): a fit solves for groups and animals together."""
    ped = Pedigree(**MRODE_GROUPS)
    data = pd.DataFrame({"id": [4, 5, 6, 7, 8], "sex": list("MFFMM"), "y": [4.5, 2.9, 3.9, 3.5, 5.0]})
    K = ped.with_random_groups(0.5)
    model = rb.MixedModel("y ~ 0 + sex + (1 | vm(id, K))", data, relationships={"K": K})
    solved = model.solve({"vm(id, K)": 20.0, "residual": 40.0})
    X = np.column_stack([[0, 1, 1, 0, 0], [1, 0, 0, 1, 1]]).astype(float)
    Z = np.zeros((5, 10))
    Z[np.arange(5), 5 + np.arange(5)] = 1.0
    V = 20 * Z @ K.dense() @ Z.T + 40 * np.eye(5)
    y = data["y"].to_numpy()
    beta = np.linalg.solve(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y))
    u = 20 * K.dense() @ Z.T @ np.linalg.solve(V, y - X @ beta)
    np.testing.assert_allclose(solved.random_effects["estimate"], u, atol=1e-9)


@pytest.mark.parametrize("wrong", ["x", ["a", "b"], pd.DataFrame([["a", 0], [0, 1]], ["G1", "G2"], ["G1", "G2"])])
def test_covariances_that_are_no_numbers(wrong):
    ped = Pedigree(**MRODE_GROUPS)
    for make, name in ((ped.with_metafounders, "gamma="), (ped.with_random_groups, "variance=")):
        with pytest.raises(PedigreeError, match=rf"{name} holds something that is no number. Give one number, a 2 x 2"):
            make(wrong)


WRONG_GROUPS = [1.5, True, 3, object(), 1j, np.nan, int, [None], [["s"]], {}, [], "", range(2), np.array("x"),
                np.zeros((2, 2)), np.datetime64("2020")]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_GROUPS, ids=lambda v: repr(v)[:20])
def test_groups_of_any_other_type_are_refused(wrong):
    rows = {"id": [1, 2, 3], "sire": ["s", "s", 1], "dam": ["d", "d", 2]}
    for make in (
        lambda: Pedigree(*rows.values(), groups=wrong),
        lambda: Pedigree.from_frame(pd.DataFrame(rows), groups=wrong),
    ):
        with pytest.raises(RelationshipError):
            make()


def test_one_group_may_stand_without_a_list():
    """A text was taken for its letters."""
    ids, sires, dams = ["a", "b"], ["wild", "wild"], ["wild", "wild"]
    assert Pedigree(ids, sires, dams, groups="wild").groups.tolist() == ["wild"]


def test_iterators_are_gone_through_once():
    """What checks them first used them up."""
    rows = [1, 2, 3], ["s", "s", 1], ["d", "d", 2]
    made = Pedigree(*map(iter, rows), groups=iter(["s", "d"]))
    assert made.groups.tolist() == ["s", "d"]
    unknown = Pedigree([1, 2], ["x", "x"], ["q", 1], unknown=iter(["x", "q"]))
    assert unknown.labels.tolist() == [1, 2] and {"x", "q"} <= unknown.unknown_codes
    selfed = Pedigree([1, 2], [0, 0], [0, 0], selfing=iter([0, 2]))
    assert selfed.inbreeding.tolist() == Pedigree([1, 2], [0, 0], [0, 0], selfing=[0, 2]).inbreeding.tolist() != [0, 0]
    cloned = Pedigree([1, 2], [0, 0], [0, 0], clones=iter([0, 1]))
    assert cloned.labels.tolist() == [1]
