"""Groups of unknown parents in single-step: the QP-transformed equations of H and of A alone, written out densely."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import remlblup as rb

IDS = [f"a{k}" for k in range(12)]
SIRES = ["G1", "G2", "G1", "G3", "a0", "a0", "a2", "G2", "a4", "a6", "a8", "a4"]
DAMS = ["G1", "G1", "G2", "G3", "a1", "G2", "a3", "a5", "a5", "a7", "a9", "a3"]
GROUPS = ["G1", "G2", "G3"]
GENOTYPED = ["a9", "a4", "a6", "a11", "a8"]
PLAIN = {"alpha": 1.0, "beta": 0.0, "tune": 0}


def pedigree(**options) -> rb.Pedigree:
    return rb.Pedigree(IDS, SIRES, DAMS, groups=GROUPS, **options)


def genomic(A: rb.Pedigree, factor: float) -> pd.DataFrame:
    """A22 times a factor, with noise of the same sign: above or below A22 in every direction."""
    A22 = A.dense(GENOTYPED)
    noise = np.random.default_rng(3).normal(size=(5, 12)) / 12**0.5
    rest = 0.1 * (factor - 1.0) * noise @ noise.T
    return pd.DataFrame(factor * A22 + rest, index=GENOTYPED, columns=GENOTYPED)


def single_step(factor: float = 1.3, **options) -> rb.SingleStep:
    A = pedigree()
    return rb.SingleStep(A, genomic(A, factor), **(PLAIN | options))


def records(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    d = pd.DataFrame({"id": rng.choice(IDS, n), "x": rng.normal(size=n)})
    return d.assign(y=rng.normal(size=n) + d["x"] + d["id"].isin(["a3", "a6", "a11"]) * 1.5)


def inverses(A: rb.Pedigree, G: pd.DataFrame, tau: float = 1.0, omega: float = 1.0) -> tuple[np.ndarray, ...]:
    """A⁻¹, H⁻¹ − A⁻¹ and Q, by plain inverses; Q by its definition, the mean of the parents'."""
    at = [list(A.labels).index(a) for a in G.index]
    inverse, extra = np.linalg.inv(A.dense()), np.zeros((A.size, A.size))
    A22 = A.dense()[np.ix_(at, at)]
    extra[np.ix_(at, at)] = tau * np.linalg.inv(G.to_numpy()) - omega * np.linalg.inv(A22)
    shares = {group: np.eye(3)[k] for k, group in enumerate(GROUPS)}
    for animal, sire, dam in zip(IDS, SIRES, DAMS, strict=True):
        shares[animal] = 0.5 * (shares[sire] + shares[dam])
    return inverse, extra, np.array([shares[a] for a in A.labels])


def quaas_pollak(inverse: np.ndarray, Q: np.ndarray) -> np.ndarray:
    return np.block([[Q.T @ inverse @ Q, -Q.T @ inverse], [-inverse @ Q, inverse]])


def whole_and_alone(A: rb.Pedigree, G: pd.DataFrame, **weights) -> dict[str, np.ndarray]:
    """The two inverses over groups and animals: Misztal et al. (2013)."""
    inverse, extra, Q = inverses(A, G, **weights)
    alone = quaas_pollak(inverse, Q)
    alone[len(GROUPS) :, len(GROUPS) :] += extra
    return {"H": quaas_pollak(inverse + extra, Q), "A": alone}


def equations(d: pd.DataFrame, labels: list, precision: np.ndarray, va: float, ve: float, drop: list) -> tuple:
    """û* and its prediction error covariance over `labels`, the equations of `drop` left out."""
    X = np.column_stack([np.ones(len(d)), d["x"]])
    Z = np.array([[float(label == animal) for label in labels] for animal in d["id"]])
    W = np.hstack([X, Z])
    C = W.T @ W / ve
    C[2:, 2:] += precision / va
    keep = [k for k in range(len(C)) if k - 2 not in [labels.index(g) for g in drop]]
    inverse = np.zeros_like(C)
    inverse[np.ix_(keep, keep)] = np.linalg.inv(C[np.ix_(keep, keep)])
    return (inverse @ W.T @ d["y"].to_numpy() / ve)[2:], inverse[2:, 2:]


def plain(report: object) -> str:
    """The words of a report, however its lines are broken."""
    return " ".join(str(report).split())


def test_a_bull_a_cow_and_their_calf_by_hand():
    """Q = I and (½, ½), A⁻¹Q = I over the parents and 0; the genotyped calf adds e = 1/1.25 − 1 = −0.2 to its
    diagonal."""
    A = rb.Pedigree(["bull", "cow", "calf"], ["G1", "G2", "bull"], ["G1", "G2", "cow"], groups=["G1", "G2"])
    H = rb.SingleStep(A, (np.array([[1.25]]), ["calf"]), **PLAIN)
    animals = [[1.5, 0.5, -1], [0.5, 1.5, -1], [-1, -1, 1.8]]
    np.testing.assert_allclose(H.group_precision("A").matrix.toarray()[2:, 2:], animals, atol=1e-14)
    np.testing.assert_allclose(
        H.group_precision("A").matrix.toarray()[:2], [[1, 0, -1, 0, 0], [0, 1, 0, -1, 0]], atol=1e-14
    )
    whole = H.group_precision()
    assert whole.labels.tolist() == ["G1", "G2", "bull", "cow", "calf"]
    np.testing.assert_allclose(whole.matrix.toarray()[2:, 2:], animals, atol=1e-14)
    expected = [[0.95, -0.05, -1, 0, 0.1], [-0.05, 0.95, 0, -1, 0.1]]
    np.testing.assert_allclose(whole.matrix.toarray()[:2], expected, atol=1e-14)


@pytest.mark.parametrize("weights", [{}, {"tau": 1.2, "omega": 0.7}])
@pytest.mark.parametrize("transform", ["H", "A"])
def test_the_matrices(transform, weights):
    H = single_step(1.3, **weights)
    matrix, labels = H.group_precision(transform)
    assert labels.tolist() == [*GROUPS, *H.labels]
    expected = whole_and_alone(H.pedigree, genomic(H.pedigree, 1.3), **weights)[transform]
    np.testing.assert_allclose(matrix.toarray(), expected, atol=1e-12)
    with pytest.raises(rb.OptionError, match="transform"):
        H.group_precision("G")


@pytest.mark.parametrize("engine", ["sparse", "dense", "spectral"])
@pytest.mark.parametrize("weights", [{}, {"tau": 1.2, "omega": 0.7}])
def test_groups_in_all_of_H_are_the_default(engine, weights):
    d, H = records(), single_step(1.3, **weights)
    model = rb.MixedModel("y ~ x + (1 | vm(id, H))", d, {"H": H}, engine=engine)
    names = [f"vm(id, H): {g}" for g in GROUPS]
    assert model.specification.fixed.names == ("Intercept", "x", *names[:2])
    assert model.specification.fixed.aliased == (names[2],)
    solved = model.solve({"vm(id, H)": 1.5, "residual": 0.8})
    labels = [*GROUPS, *H.labels]
    precision = whole_and_alone(H.pedigree, genomic(H.pedigree, 1.3), **weights)["H"]
    u, errors = equations(d, labels, precision, 1.5, 0.8, ["G3"])
    table = solved.random_effects.set_index("level").loc[list(H.labels)]
    np.testing.assert_allclose(table["estimate"], u[3:], atol=1e-9)
    np.testing.assert_allclose(table["pev"], np.diag(errors)[3:], atol=1e-9)
    # The likelihood is that of Q in X beside H.
    _, _, Q = inverses(H.pedigree, genomic(H.pedigree, 1.3))
    at = [list(H.labels).index(a) for a in d["id"]]
    written = d.assign(q1=Q[at, 0], q2=Q[at, 1])
    plain = rb.MixedModel("y ~ x + q1 + q2 + (1 | vm(id, K))", written, {"K": rb.Relationship(H.dense(), H.labels)})
    values = {"residual": 0.8}
    assert solved.loglik == pytest.approx(plain.loglik(values | {"vm(id, K)": 1.5}), abs=1e-9)


def test_without_a_genotype_it_is_the_pedigree_with_its_groups():
    d, A = records(), pedigree()
    H = rb.SingleStep(A, (np.zeros((0, 0)), []))
    values = {"residual": 0.8}
    by_h = rb.MixedModel("y ~ x + (1 | vm(id, H))", d, {"H": H}).solve(values | {"vm(id, H)": 1.5})
    by_a = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": A}).solve(values | {"vm(id, A)": 1.5})
    np.testing.assert_allclose(by_h.random_effects["estimate"], by_a.random_effects["estimate"], atol=1e-10)
    assert by_h.loglik == pytest.approx(by_a.loglik, abs=1e-10)


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("weights", [{}, {"tau": 1.5, "omega": 1.0}])
def test_groups_in_A_alone(engine, weights):
    """G below A22: these equations are those of groups with a prior."""
    d, H = records(), single_step(0.6, **weights)
    K = H.with_groups_in_A()
    precision = whole_and_alone(H.pedigree, genomic(H.pedigree, 0.6), **weights)["A"]
    labels = [*GROUPS, *H.labels]
    assert K.labels.tolist() == labels and K.groups is None
    np.testing.assert_allclose(K.precision.toarray(), precision, atol=1e-11)
    whole = np.linalg.inv(precision)
    np.testing.assert_allclose(K.dense(), whole, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(K.diagonal, np.diag(whole), rtol=1e-9)
    assert K.logdet == pytest.approx(-np.linalg.slogdet(precision)[1], abs=1e-8)
    model = rb.MixedModel("y ~ x + (1 | vm(id, K))", d, {"K": K}, engine=engine)
    solved = model.solve({"vm(id, K)": 1.5, "residual": 0.8})
    u, errors = equations(d, labels, precision, 1.5, 0.8, [])
    table = solved.random_effects.set_index("level").loc[labels]
    np.testing.assert_allclose(table["estimate"], u, atol=1e-8)
    np.testing.assert_allclose(table["pev"], np.diag(errors), atol=1e-8)


def test_a_group_without_genotyped_descendants_is_fixed_in_A_alone():
    genotyped = ["a4", "a5", "a7"]  # of G1 and G2
    A, d = pedigree(), records()
    G = 0.5 * A.dense(genotyped)
    H = rb.SingleStep(A, (G, genotyped), **PLAIN)
    K = H.with_groups_in_A()
    assert K.random_groups.tolist() == ["G1", "G2"] and K.groups.tolist() == ["G3"]
    assert "G1', 'G2' random" in K.note and "'G3' fixed" in K.note
    solved = rb.MixedModel("y ~ x + (1 | vm(id, K))", d, {"K": K}).solve({"vm(id, K)": 1.5, "residual": 0.8})
    labels = [*GROUPS, *H.labels]
    frame = pd.DataFrame(G, index=genotyped, columns=genotyped)
    u, errors = equations(d, labels, whole_and_alone(A, frame)["A"], 1.5, 0.8, [])
    table = solved.random_effects.set_index("level")
    order = [labels.index(level) for level in table.index]
    np.testing.assert_allclose(table["estimate"], u[order], atol=1e-8)
    np.testing.assert_allclose(table["pev"], np.diag(errors)[order], atol=1e-8)


def test_equations_of_no_distribution_are_refused_with_the_groups_named():
    with pytest.raises(rb.RelationshipError, match=r"give the groups 'G.* the prior precision -.*no likelihood"):
        single_step(1.3).with_groups_in_A()
    A = pedigree()
    alone = rb.SingleStep(A, (np.array([[0.9]]), ["a10"]), **PLAIN)
    with pytest.raises(rb.RelationshipError, match="do not tell them apart"):
        alone.with_groups_in_A()
    plain = rb.Pedigree(["b", "c"], [None, "b"], [None, None])
    with pytest.raises(rb.RelationshipError, match="no groups of unknown parents"):
        rb.SingleStep(plain, (np.eye(1), ["c"]), **PLAIN).with_groups_in_A()


@pytest.mark.parametrize("kind", ["random groups", "metafounders"])
def test_random_groups_and_metafounders_are_animals_of_H(kind):
    A = pedigree()
    gamma = 0.3 * np.eye(3) + 0.1
    parent = A.with_random_groups(gamma) if kind == "random groups" else A.with_metafounders(gamma)
    A22 = parent.among(parent.index(GENOTYPED))
    H = rb.SingleStep(parent, (1.2 * A22 + 0.05 * np.eye(5), GENOTYPED), **PLAIN)
    assert H.labels.tolist() == [*GROUPS, *A.labels] and H.groups is None
    expected = np.linalg.inv(parent.dense())
    at = [list(parent.labels).index(a) for a in GENOTYPED]
    expected[np.ix_(at, at)] += np.linalg.inv(1.2 * A22 + 0.05 * np.eye(5)) - np.linalg.inv(A22)
    np.testing.assert_allclose(H.precision.toarray(), expected, atol=1e-10)
    np.testing.assert_allclose(H.dense(), np.linalg.inv(expected), atol=1e-10)


@pytest.mark.parametrize("kind", ["H", "A", "subset"])
def test_reports_predictions_and_the_saved_fit(kind, tmp_path):
    d = records()
    H = single_step(0.6)
    K = {"H": H, "A": H.with_groups_in_A(), "subset": H.pedigree.subset(sorted(set(d["id"])))}[kind]
    model = rb.MixedModel("y ~ x + (1 | vm(id, K))", d, {"K": K})
    text = {
        "H": "fixed effects, in û, by the QP transformation of all of H",
        "A": "QP transformation of A)",
        "subset": "fixed",
    }
    fit = model.fit()
    assert text[kind] in plain(fit.summary()) and text[kind] in plain(model.describe())
    fit.save(tmp_path / "fit")
    loaded = rb.load(tmp_path / "fit")
    pd.testing.assert_frame_equal(loaded.random_effects, fit.random_effects, rtol=1e-7, atol=1e-9)
    assert loaded.loglik == pytest.approx(fit.loglik, abs=1e-9)
    assert text[kind] in plain(loaded.summary())
    new = d.head(5)
    np.testing.assert_allclose(loaded.predict(new)["prediction"], fit.fitted[:5], atol=1e-7)


def test_part_of_a_pedigree_keeps_its_groups():
    d, A = records(), pedigree()
    animals = sorted(set(d["id"]))
    values = {"vm(id, A)": 1.5, "residual": 0.8}
    part = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": A.subset(animals)})
    whole = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": A})
    pruned = rb.MixedModel("y ~ x + (1 | vm(id, A))", d, {"A": A.prune(animals)})
    assert part.loglik(values) == pytest.approx(whole.loglik(values), abs=1e-10)
    assert pruned.loglik(values) == pytest.approx(whole.loglik(values), abs=1e-10)


def test_relationships_without_a_place_for_groups_say_so():
    A = pedigree()
    with pytest.warns(
        UserWarning, match=r"groups of unknown parents \('G1', 'G2', 'G3'\) have no part in the dominance"
    ):
        A.dominance()
    sexes = {a: "m" if a in SIRES else "f" for a in IDS}
    with pytest.warns(UserWarning, match="have no part in the sex-linked"):
        A.sex_linked(sexes)
    model = rb.MixedModel("y ~ x + (1 | vm(id, A))", records(), {"A": A})
    with pytest.warns(UserWarning, match="the errors of their groups of unknown parents"):
        model.approximate_reliabilities({"vm(id, A)": 1.5, "residual": 0.8}, "vm(id, A)")


def test_models_made_from_matrices(tmp_path):
    d, H = records(), single_step(1.3)
    Z = np.array([[float(label == animal) for label in H.labels] for animal in d["id"]])
    X = np.column_stack([np.ones(len(d)), d["x"]])
    values = {"residual": 0.8}
    by_matrix = rb.MixedModel.from_matrices(d["y"], X, [Z], [H], ["u"])
    by_formula = rb.MixedModel("y ~ x + (1 | vm(id, H))", d, {"H": H})
    assert by_matrix.loglik(values | {"u": 1.5}) == pytest.approx(
        by_formula.loglik(values | {"vm(id, H)": 1.5}), abs=1e-10
    )
    fit = by_matrix.fit()
    fit.save(tmp_path / "fit")
    loaded = rb.load(tmp_path / "fit")
    np.testing.assert_allclose(loaded.random_effects["estimate"], fit.random_effects["estimate"], atol=1e-8)
    assert loaded.aliased == fit.aliased
    folds = np.arange(len(d)) % 3
    one, other = (rb.cross_validate(m.fit(), folds, refit=True, progress=False) for m in (by_matrix, by_formula))
    np.testing.assert_allclose(one.predictions["predicted"], other.predictions["predicted"], atol=1e-5)
