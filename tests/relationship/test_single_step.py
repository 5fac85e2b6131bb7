"""H of single-step against the dense formulas, written with plain numpy inverses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from pedigrees import kinship_matrix, numbered_pedigrees, random_pedigree

from remlblup import Genotypes, MixedModel, OptionError, Pedigree, Relationship, RelationshipError, SingleStep
from remlblup.relationship.base import RelationshipBase
from remlblup.relationship.single_step import formed
from remlblup.relationship.single_step import relationship as single_step

WEIGHTS = {"alpha": 1.0, "beta": 0.0, "tune": 0}


def pedigree_of(sire, dam) -> Pedigree:
    """Animals a0, a1, …, parents by number."""
    name = np.array([*(f"a{k}" for k in range(len(sire))), None], dtype=object)
    return Pedigree(name[:-1], name[sire], name[dam])


def markers(g: int, seed: int, loci: int = 40) -> np.ndarray:
    """A genomic matrix of random genotypes, VanRaden's first; singular."""
    rng = np.random.default_rng(seed)
    M = rng.binomial(2, rng.uniform(0.2, 0.8, loci), (g, loci)).astype(float)
    p = M.mean(axis=0) / 2
    Z = M - 2 * p
    return Z @ Z.T / max(2 * (p * (1 - p)).sum(), 1e-8)


def dense_H(A: np.ndarray, where: np.ndarray, Gw: np.ndarray, tau: float = 1.0, omega: float = 1.0) -> np.ndarray:
    """The inverse of A⁻¹ + τGw⁻¹ − ωA22⁻¹ (Martini et al. 2018), as it is written."""
    inverse = np.linalg.inv(A)
    block = np.ix_(where, where)
    inverse[block] += tau * np.linalg.inv(Gw) - omega * np.linalg.inv(A[block])
    return np.linalg.inv(inverse)


@st.composite
def situations(draw):
    sire, dam = draw(numbered_pedigrees(max_size=20))
    n = len(sire)
    where = np.array(sorted(draw(st.sets(st.integers(0, n - 1), min_size=1, max_size=n))))
    shuffled = np.array(draw(st.permutations(list(where))))
    return sire, dam, where, shuffled, draw(st.integers(0, 2**31))


def test_pedigree_and_matrix_the_other_way_round():
    pedigree = Pedigree(["a", "b", "c"], ["0", "0", "a"], ["0", "0", "b"])
    with pytest.raises(RelationshipError, match="pedigree first and G second, which is a Pedigree"):
        SingleStep(Relationship(np.eye(3), ["a", "b", "c"]), pedigree)


def test_a_bull_a_cow_and_their_calf_by_hand():
    """The cow given the two genotyped: w = A12 A22⁻¹ = (−1/3, 2/3), so h12 = w'G and h11 = 1 − w'(A22 − G)w."""
    pedigree = Pedigree(["bull", "cow", "calf"], [None, None, "bull"], [None, None, "cow"])
    H = SingleStep(pedigree, (np.array([[1.0, 0.6], [0.6, 1.1]]), ["calf", "bull"]), **WEIGHTS)
    expected = [[11 / 10, 1 / 30, 3 / 5], [1 / 30, 29 / 30, 7 / 15], [3 / 5, 7 / 15, 1]]
    np.testing.assert_allclose(H.dense(), expected, rtol=1e-14)
    assert H.logdet == pytest.approx(np.log(1 / 2 * (1.1 - 0.36) / (3 / 4)), rel=1e-13)


@settings(max_examples=60, deadline=None)
@given(situations(), st.floats(0.5, 2.0), st.floats(0.2, 1.0))
def test_every_member_agrees_with_the_dense_formula(situation, tau, omega):
    sire, dam, where, shuffled, seed = situation
    A = kinship_matrix(sire, dam)
    n, place = len(A), {a: k for k, a in enumerate(where)}
    # A well-conditioned G that is not A22: half of each.
    noise = np.random.default_rng(seed).normal(size=(len(where), 3 * len(where)))
    G = 0.5 * A[np.ix_(where, where)] + 0.5 * noise @ noise.T / (3 * len(where)) + 0.05 * np.eye(len(where))
    order = [place[a] for a in shuffled]
    given_G = pd.DataFrame(G[np.ix_(order, order)], *[[f"a{a}" for a in shuffled]] * 2)
    H = SingleStep(pedigree_of(sire, dam), given_G, tau=tau, omega=omega, **WEIGHTS)
    expected = dense_H(A, where, G, tau, omega)
    scale = np.linalg.cond(expected)
    assert H.labels.tolist() == [f"a{k}" for k in range(n)]
    np.testing.assert_array_equal(H.positions, where)
    np.testing.assert_allclose(H.dense(), expected, atol=1e-14 * scale * np.abs(expected).max())
    np.testing.assert_allclose((H.precision @ H.dense()), np.eye(n), atol=1e-13 * scale)
    np.testing.assert_allclose(H.diagonal, np.diag(expected), atol=1e-14 * scale * expected.max())
    assert H.logdet == pytest.approx(np.linalg.slogdet(expected)[1], abs=1e-13 * scale * n)
    V = np.random.default_rng(seed).normal(size=(n, 2))
    np.testing.assert_allclose(H.multiply(V), expected @ V, atol=1e-13 * scale * n)
    np.testing.assert_allclose(H.multiply(V[:, 0]), expected @ V[:, 0], atol=1e-13 * scale * n)
    some = [f"a{where[-1]}", "a0"]
    np.testing.assert_allclose(H.dense(some), expected[np.ix_([where[-1], 0], [where[-1], 0])], atol=1e-13 * scale)


@settings(max_examples=30, deadline=None)
@given(situations(), st.sampled_from([0, 2, 3, 4]))
def test_G_equal_to_A22_gives_A(situation, tune):
    sire, dam, where, _, _ = situation
    A = kinship_matrix(sire, dam)
    names = [f"a{k}" for k in where]
    H = SingleStep(pedigree_of(sire, dam), (A[np.ix_(where, where)], names), tune=tune)
    np.testing.assert_allclose(H.dense(), A, atol=1e-10)
    np.testing.assert_allclose(H.precision.toarray(), np.linalg.inv(A), atol=1e-9)
    np.testing.assert_allclose(H.inbreeding, np.diag(A) - 1, atol=1e-10)
    assert H.logdet == pytest.approx(np.linalg.slogdet(A)[1], abs=1e-10)


def test_without_genotypes_H_is_A():
    pedigree = pedigree_of(*random_pedigree(30, 3, 12))
    H = SingleStep(pedigree, (np.zeros((0, 0)), []))
    np.testing.assert_array_equal(H.dense(), pedigree.dense())
    np.testing.assert_array_equal(H.precision.toarray(), pedigree.precision.toarray())
    np.testing.assert_array_equal(H.diagonal, pedigree.diagonal)
    assert H.logdet == pedigree.logdet
    assert len(H.genomic_inbreeding) == 0
    assert np.isnan(H.compatibility().to_numpy()).all()


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_no_genotyped_animal_in_the_pedigree(missing):
    pedigree = pedigree_of(*random_pedigree(30, 3, 12))
    with pytest.raises(
        RelationshipError, match=r"none of the 2 .*such as 'x', 'y', is in .* of 30, such as 'a0', 'a1'"
    ):
        SingleStep(pedigree, (np.eye(2), ["x", "y"]), missing=missing)


def test_one_weight_completes_the_other_to_one():
    pedigree = pedigree_of(*random_pedigree(30, 3, 12))
    G, A22 = (markers(10, 4) + 0.1 * np.eye(10), pedigree.labels[20:]), pedigree.dense()[20:, 20:]

    def weights(**given):
        H = SingleStep(pedigree, G, tune=0, **given)
        np.testing.assert_allclose(H.genomic, H.alpha * G[0] + H.beta * A22, rtol=1e-14, atol=1e-15)
        return H.alpha, H.beta

    assert weights() == weights(alpha=0.95) == weights(beta=0.05) == (0.95, 0.05)
    assert weights(alpha=0.9) == (0.9, 0.1)
    assert weights(beta=0.3) == (0.7, 0.3)
    assert weights(beta=0) == weights(alpha=1) == (1, 0)
    assert weights(alpha=0.9, beta=0.2) == (0.9, 0.2)
    for wrong in ({"alpha": 1.2}, {"beta": -0.1}):
        with pytest.raises(OptionError, match="completing it to 1"):
            SingleStep(pedigree, G, **wrong)


def test_a_genotyped_ramet_is_its_ortet():
    ids, sires, dams = ["p", "q", "tree", "copy", "copy2", "sib"], [None] * 2 + ["p"] * 4, [None] * 2 + ["q"] * 4
    pedigree = Pedigree(ids, sires, dams, clones={"copy": "tree", "copy2": "tree"})
    G = np.array([[1.1, 0.4], [0.4, 0.9]])
    H = SingleStep(pedigree, (G, ["copy", "sib"]))
    expected = SingleStep(pedigree, (G, ["tree", "sib"]))
    np.testing.assert_array_equal(H.dense(), expected.dense())
    assert sorted(H.genotyped) == ["sib", "tree"] and H.dropped == []
    np.testing.assert_array_equal(H.index(["copy2", "sib"]), pedigree.index(["tree", "sib"]))
    # Records of ramets find their place in H.
    data = pd.DataFrame({"id": ["tree", "copy", "copy2", "sib", "p"], "y": [1.0, 2.0, 4.0, 3.0, 1.0]})
    a, b = (
        MixedModel("y ~ 1 + (1 | vm(id, H))", frame, {"H": expected}).solve({"vm(id, H)": 1.0, "residual": 1.0})
        for frame in (data, data.replace({"id": {"copy": "tree", "copy2": "tree"}}))
    )
    np.testing.assert_allclose(a.blup("vm(id, H)"), b.blup("vm(id, H)"), rtol=1e-12)
    with pytest.raises(RelationshipError, match=r"one clone are genotyped more than once: 'tree', 'copy2' \(of tree\)"):
        SingleStep(pedigree, (np.eye(3), ["tree", "sib", "copy2"]))
    with pytest.raises(RelationshipError, match="'copy', 'copy2'"):
        SingleStep(pedigree, (np.eye(3), ["copy", "copy2", "x"]), missing="drop")
    assert SingleStep(pedigree, (np.eye(2), ["copy", "x"]), missing="drop").dropped == ["x"]


def test_genotypes_themselves_are_no_relationship():
    pedigree = pedigree_of(*random_pedigree(20, 1, 10))
    genotypes = Genotypes.from_matrix(np.array([[0, 1], [2, 1]]), ids=["a5", "a6"])
    with pytest.raises(RelationshipError, match=r"rb\.genomic_relationship\(genotypes\)"):
        SingleStep(pedigree, genotypes)


@pytest.mark.parametrize("blend_first", [True, False])
@pytest.mark.parametrize("tune", [0, 1, 2, 3, 4])
def test_blending_and_tuning_by_their_definitions(tune, blend_first):
    pedigree = pedigree_of(*random_pedigree(60, 5, 25))
    where = np.arange(30, 60)
    A22, raw = pedigree.dense()[30:, 30:], markers(30, 8)
    H = SingleStep(pedigree, (raw, pedigree.labels[where]), alpha=0.9, beta=0.2, tune=tune, blend_first=blend_first)
    a, b = H.tuned_by
    if blend_first:
        tuned, blended = H.genomic, 0.9 * raw + 0.2 * A22
        np.testing.assert_allclose(tuned, a + b * blended, atol=1e-13)
    else:
        tuned, blended = a + b * raw, raw
        np.testing.assert_allclose(H.genomic, 0.9 * tuned + 0.2 * A22, atol=1e-13)
    rest = ~np.eye(30, dtype=bool)
    if tune == 0:
        assert (a, b) == (0.0, 1.0)
    elif tune in (1, 2):
        wanted = (1.0, 0.0) if tune == 1 else (np.diag(A22).mean(), A22[rest].mean())
        assert (np.diag(tuned).mean(), tuned[rest].mean()) == pytest.approx(wanted, abs=1e-12)
    elif tune == 3:
        assert b == 1.0
        assert tuned.mean() == pytest.approx(A22.mean(), abs=1e-12)
    else:  # Vitezica et al. 2011
        drift = A22.mean() - blended.mean()
        assert (a, b) == pytest.approx((drift, 1 - drift / 2), abs=1e-12)
    np.testing.assert_allclose(H.dense(), dense_H(pedigree.dense(), where, H.genomic), atol=1e-9)
    np.testing.assert_allclose(H.genomic_inbreeding, np.diag(H.genomic) - 1, rtol=0, atol=0)


def test_the_two_ways_to_the_diagonal_and_to_A22(monkeypatch):
    """A larger pedigree, where compiled products and the sparse inverse are used."""
    sire, dam = random_pedigree(4000, 2, 400)
    pedigree = pedigree_of(sire, dam)
    where = np.sort(np.random.default_rng(1).choice(4000, 300, replace=False))
    H = SingleStep(pedigree, (markers(300, 4, 900), pedigree.labels[where]))
    A22 = np.array([pedigree.multiply(np.eye(1, 4000, k)[0])[where] for k in where[:5]])
    np.testing.assert_allclose(pedigree.dense(pedigree.labels[where])[:5], A22, rtol=1e-13)
    by_products = H.diagonal
    monkeypatch.setattr(single_step, "_PRODUCTS", 0.0)
    del H.__dict__["diagonal"]
    np.testing.assert_allclose(H.diagonal, by_products, rtol=1e-10)
    unit = np.eye(1, 4000, 17)[0]
    np.testing.assert_allclose(H.precision @ H.multiply(unit), unit, atol=1e-9)


class Scaled(RelationshipBase):
    """Another relationship of all animals: 2A, as one with `dense(animals)`."""

    def __init__(self, pedigree):
        self.base, self.labels = pedigree, pedigree.labels

    precision = property(lambda self: sp.csc_array(self.base.precision / 2))
    logdet = property(lambda self: self.base.logdet + self.base.size * np.log(2))
    diagonal = property(lambda self: 2 * self.base.diagonal)

    def multiply(self, V):
        return 2 * self.base.multiply(V)

    def dense(self, animals=None):
        return 2 * self.base.dense(animals)


@pytest.mark.parametrize("kind", ["with dense(animals)", "a matrix"])
def test_any_relationship_of_all_animals_serves_as_the_base(kind):
    pedigree = pedigree_of(*random_pedigree(40, 9, 20))
    A, where = 2 * pedigree.dense(), np.arange(20, 40, 2)
    base = Scaled(pedigree) if kind == "with dense(animals)" else Relationship(A, pedigree.labels)
    G = markers(10, 6) + np.eye(10)
    H = SingleStep(base, Relationship(G, pedigree.labels[where]), **WEIGHTS)
    expected = dense_H(A, where, G)
    np.testing.assert_allclose(H.dense(), expected, atol=1e-11)
    np.testing.assert_allclose(H.diagonal, np.diag(expected), atol=1e-11)
    assert H.logdet == pytest.approx(np.linalg.slogdet(expected)[1], abs=1e-10)


def test_compatibility_by_numpy_and_a_swapped_sample_comes_first():
    pedigree = pedigree_of(*random_pedigree(120, 11, 40))
    A = pedigree.dense()
    where = np.arange(60, 120)
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, (60, 60))
    G = A[60:, 60:] + (noise + noise.T) / 2
    stranger = G.copy()  # the sample of animal 90 is from an unrelated animal
    stranger[30, :] = stranger[:, 30] = 0.0
    stranger[30, 30] = 1.0
    H = SingleStep(pedigree, (stranger, pedigree.labels[where]))
    table = H.compatibility(worst=3)
    rest = ~np.eye(60, dtype=bool)
    for name, matrix in {"A22": A[60:, 60:], "G as given": stranger, "G blended and tuned": H.genomic}.items():
        correlation = np.corrcoef(matrix[rest], A[60:, 60:][rest])[0, 1]
        slope = np.polyfit(A[60:, 60:][rest], matrix[rest], 1)[0]
        wanted = [np.diag(matrix).mean(), matrix[rest].mean(), correlation, slope]
        np.testing.assert_allclose(table.loc[name], wanted, rtol=1e-9)
    assert table.attrs["worst"].index[0] == "a90"
    assert len(table.attrs["worst"]) == 3


def test_wrong_input_is_named():
    pedigree = pedigree_of(*random_pedigree(20, 1, 10))
    G = np.eye(3)
    with pytest.raises(RelationshipError, match=r"2 genotyped animals are not in the pedigree: 'x', 'y'.*drop"):
        SingleStep(pedigree, (G, ["x", "a5", "y"]))
    dropped = SingleStep(pedigree, (G, ["x", "a5", "y"]), missing="drop")
    assert (dropped.dropped, dropped.genotyped.tolist()) == (["x", "y"], ["a5"])
    with pytest.raises(RelationshipError, match="more than once: 'a5'"):
        SingleStep(pedigree, (G, ["a5", "a5", "a6"]))
    with pytest.raises(RelationshipError, match=r"genomic matrix.*not positive definite.*genotyped twice"):
        SingleStep(pedigree, (np.ones((2, 2)), ["a5", "a6"]), **WEIGHTS)
    with pytest.raises(RelationshipError, match="cannot be tuned"):
        SingleStep(pedigree, (np.ones((2, 2)), ["a5", "a6"]), alpha=1, beta=0, tune=2)
    with pytest.raises(RelationshipError, match=r"tau = 0.1 and omega = 3 is not positive definite.*omega nearer to 1"):
        SingleStep(pedigree, (G, ["a5", "a6", "a7"]), tau=0.1, omega=3.0)
    with pytest.raises(RelationshipError, match="not symmetric"):
        SingleStep(pedigree, (np.array([[1, 0.5], [0.2, 1]]), ["a5", "a6"]))
    with pytest.raises(RelationshipError, match="marked as an inverse"):
        frame = pd.DataFrame(np.eye(2), *[["a5", "a6"]] * 2)
        frame.attrs["inverse"] = True
        SingleStep(pedigree, frame)
    with pytest.raises(RelationshipError, match="cannot take a genomic matrix from ndarray"):
        SingleStep(pedigree, G)
    with pytest.raises(RelationshipError, match="SingleStep needs a Pedigree"):
        SingleStep(pd.DataFrame(), (G, ["a5", "a6", "a7"]))
    for wrong in (
        {"tau": 0.0},
        {"omega": -1.0},
        {"alpha": 0.0, "beta": 0.0},
        {"alpha": np.nan},
        {"tune": 7},
        {"missing": "skip"},
    ):
        with pytest.raises(OptionError):
            SingleStep(pedigree, (G, ["a5", "a6", "a7"]), **wrong)


def test_printing_says_what_was_done():
    pedigree = pedigree_of(*random_pedigree(20, 1, 10))
    H = SingleStep(pedigree, (np.eye(3), ["a5", "a6", "a7"]), tau=0.9)
    assert repr(H).startswith("SingleStep(20 animals, 3 genotyped; alpha=0.95, beta=0.05, tune=2 (")
    assert "tau=0.9, omega=1" in repr(H)


def test_a_fit_is_kept_and_read_again(tmp_path):
    pedigree = pedigree_of(*random_pedigree(80, 21, 30))
    H = SingleStep(pedigree, (markers(25, 3), pedigree.labels[50:75]))
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"id": np.repeat(pedigree.labels, 2), "y": rng.normal(size=160)})
    data["y"] += np.repeat(np.linalg.cholesky(H.dense()) @ rng.normal(size=80), 2)
    fit = MixedModel("y ~ 1 + (1 | vm(id, H))", data, relationships={"H": H}).fit()
    fit.save(tmp_path / "fit")
    import remlblup as rb

    again = rb.load(tmp_path / "fit")
    np.testing.assert_allclose(again.random_effects["reliability"], fit.random_effects["reliability"], rtol=1e-8)
    assert again.loglik == pytest.approx(fit.loglik, abs=1e-9)


def larger(n: int = 3000, g: int = 320) -> tuple[Pedigree, np.ndarray, np.ndarray]:
    """A pedigree, a genomic matrix, and the labels of its animals in an order of their own."""
    pedigree = pedigree_of(*random_pedigree(n, 5, 300))
    where = np.random.default_rng(6).choice(n, g, replace=False)
    return pedigree, markers(g, 7, 900), pedigree.labels[where]


def test_what_is_made_again_when_asked_for_is_what_was_there(monkeypatch):
    pedigree, G, labels = larger()
    kept = SingleStep(pedigree, (G, labels), tau=1.1, omega=0.9)
    monkeypatch.setattr(formed, "_KEPT", 0)
    made = SingleStep(pedigree, (G, labels), tau=1.1, omega=0.9)
    assert "A22" not in made.formed.__dict__
    V = np.random.default_rng(8).normal(size=(3000, 2))
    np.testing.assert_array_equal(made.multiply(V), kept.multiply(V))
    np.testing.assert_array_equal(made.precision.toarray(), kept.precision.toarray())
    pd.testing.assert_frame_equal(made.compatibility(), kept.compatibility())
    np.testing.assert_allclose(made.precision_times(V), made.precision @ V, rtol=1e-12, atol=1e-12)
    lower = made.lower_precision
    np.testing.assert_array_equal(lower.toarray(), np.tril(made.precision.toarray()))


def test_matrices_of_the_genotyped_are_not_held_twice(monkeypatch):
    """Beside G as given: G in its order, A22 and the inverse of G;
    in the end G blended and the dense part of the inverse of H."""
    import tracemalloc

    monkeypatch.setattr(formed, "_KEPT", 0)
    pedigree, G, labels = larger(6000, 900)
    _ = pedigree.precision, pedigree.inbreeding, SingleStep(pedigree, (G, labels))
    block = 8.0 * 900**2
    tracemalloc.start()
    H = SingleStep(pedigree, (G, labels))
    _, peak = tracemalloc.get_traced_memory()
    _, dense = H.precision_parts
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4.0 * block
    assert held < 2.2 * block
    assert dense.values.shape == (900, 900)


def test_the_genomic_matrix_of_the_user_stays_as_it_is():
    pedigree, G, labels = larger(1200, 150)
    frame, relationship = pd.DataFrame(G, labels, labels), Relationship(G + 0.1 * np.eye(150), labels)
    for whole, matrix in (((G, labels), G), (frame, frame.to_numpy()), (relationship, relationship.dense())):
        before = matrix.copy()
        SingleStep(pedigree, whole)
        np.testing.assert_array_equal(matrix, before)


@pytest.mark.parametrize("engine", ["sparse", "dense"])
def test_the_equations_give_the_diagonal_of_H(monkeypatch, engine):
    """Reliabilities by the factor of the equations without data, and by products."""
    pedigree, G, labels = larger(900, 120)
    rng = np.random.default_rng(9)
    data = pd.DataFrame(
        {"y": rng.normal(size=800), "sex": rng.integers(0, 2, 800).astype(str), "id": pedigree.labels[:800]}
    )
    columns = {}
    for limit in (0.0, 1e12):
        monkeypatch.setattr(single_step, "_PRODUCTS", limit)
        H = SingleStep(pedigree, (G, labels))
        model = MixedModel("y ~ sex + (1 | vm(id, H))", data, {"H": H}, engine=engine)
        solved = model.solve({"vm(id, H)": 0.6, "residual": 1.0})
        columns[limit] = solved.random_effects
        assert "diagonal" in H.__dict__
        # The factor is that of the equations again for whoever asks next.
        np.testing.assert_allclose(
            solved.fixed_effects["std_error"], np.sqrt(np.diag(solved.beta_covariance)), rtol=1e-9
        )
    first, second = columns.values()
    np.testing.assert_allclose(first["reliability"], second["reliability"], rtol=1e-8, atol=1e-10)
