"""Records whose sire or dam is unknown: the parent adds nothing, the record stays. Against V written out densely."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import remlblup as rb

IDS = list("abcdefgh")
SIRES = [None, None, "a", "a", "c", "c", "e", "e"]
DAMS = [None, None, "b", "b", "d", None, "f", "d"]
CODES = [0, "0", np.nan, None, "", "  ", "NA", ".", pd.NA]
ALL = "y ~ x + (1 | vm(sire, A))"


def pedigree(**options) -> rb.Pedigree:
    return rb.Pedigree(IDS, SIRES, DAMS, **options)


def records(unknown: object = 0, n: int = 40) -> pd.DataFrame:
    """Sires, dams and maternal grandsires, each unknown in some records."""
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"x": rng.normal(size=n), "y": rng.normal(size=n), "animal": rng.choice(list("ghef"), n)})
    for column, known in (("sire", "aceg"), ("dam", "bdfh"), ("mgs", "ace")):
        d[column] = pd.Series(rng.choice(list(known), n), dtype=object)
        for row in rng.choice(n, 7, replace=False):
            d.at[row, column] = unknown
    d["y"] += d["sire"].map({"a": 1.5, "c": -1.0, "e": 0.5}).astype(float).fillna(0.0)
    return d


def incidence(column: pd.Series, labels=IDS) -> np.ndarray:
    return np.array(
        [[float(label == value) if isinstance(value, str) else 0.0 for label in labels] for value in column]
    )


def reml(y: np.ndarray, X: np.ndarray, V: np.ndarray) -> float:
    """REML log-likelihood: that of n − p error contrasts, an orthonormal basis of them, and the constant of X."""
    Q, _ = np.linalg.qr(X, mode="complete")
    K = Q[:, X.shape[1] :]
    constant = -0.5 * np.linalg.slogdet(X.T @ X)[1]
    return float(multivariate_normal(cov=K.T @ V @ K).logpdf(K.T @ y)) + constant


def dense_likelihood(d: pd.DataFrame, G: np.ndarray, error: float = 1.3) -> float:
    X = np.column_stack([np.ones(len(d)), d["x"]])
    return reml(d["y"].to_numpy(), X, G + error * np.eye(len(d)))


@pytest.mark.parametrize("engine", ["sparse", "dense", "spectral"])
@pytest.mark.parametrize("code", CODES, ids=repr)
def test_an_unknown_sire_adds_nothing_and_keeps_the_record(code, engine):
    d, A = records(code), pedigree()
    model = rb.MixedModel(ALL, d, {"A": A}, engine=engine)
    assert model.specification.n == len(d)
    assert model.specification.records.unknown_parents == {"sire": 7}
    assert "an unknown parent adds nothing: sire in 7" in str(model.describe())
    Z = incidence(d["sire"], A.labels)
    assert (Z.sum(axis=1) == 0).sum() == 7
    G = 0.7 * Z @ A.dense() @ Z.T
    values = {"vm(sire, A)": 0.7, "residual": 1.3}
    assert model.loglik(values) == pytest.approx(dense_likelihood(d, G), abs=1e-9)


TERMS = {
    "y ~ x + (1 | vm(dam, A))": lambda d, A: [(incidence(d["dam"], A.labels),)],
    "y ~ x + (1 | vm(sire, A) + 0.5*vm(mgs, A))": lambda d, A: [
        (incidence(d["sire"], A.labels) + 0.5 * incidence(d["mgs"], A.labels),)
    ],
    "y ~ x + us(vm(animal, A) + vm(dam, A))": lambda d, A: [
        (incidence(d["animal"], A.labels), incidence(d["dam"], A.labels))
    ],
    "y ~ x + us(vm(sire, A) + vm(dam, A))": lambda d, A: [
        (incidence(d["sire"], A.labels), incidence(d["dam"], A.labels))
    ],
    "y ~ x + us(1 + x | vm(sire, A))": lambda d, A: [
        (incidence(d["sire"], A.labels), incidence(d["sire"], A.labels) * d[["x"]].to_numpy())
    ],
    "y ~ x + (1 | vm(sire, A)) + (1 | vm(dam, A))": lambda d, A: [
        (incidence(d["sire"], A.labels),),
        (incidence(d["dam"], A.labels),),
    ],
}


@pytest.mark.parametrize("engine", ["sparse", "dense"])
@pytest.mark.parametrize("formula", TERMS)
def test_every_kind_of_term(formula, engine, tmp_path):
    d, A = records(), pedigree()
    model = rb.MixedModel(formula, d, {"A": A}, engine=engine)
    assert model.specification.n == len(d)
    G, values = np.zeros((len(d),) * 2), {"residual": 1.3}
    for design, effects in zip(model.specification.random, TERMS[formula](d, A), strict=True):
        sigma = np.array([[0.8, 0.2], [0.2, 0.5]])[: len(effects), : len(effects)]
        values[design.name] = sigma if len(effects) > 1 else sigma[0, 0]
        for i, left in enumerate(effects):
            for j, right in enumerate(effects):
                G += sigma[i, j] * left @ A.dense() @ right.T
    assert model.loglik(values) == pytest.approx(dense_likelihood(d, G), abs=1e-9)
    solved = model.solve(values)
    new = d.drop(columns="y")
    np.testing.assert_allclose(solved.predict(new)["prediction"], solved.fitted, atol=1e-10)


@pytest.mark.parametrize("code", [0, None, "", "NA"], ids=repr)
@pytest.mark.parametrize("parents", ["keep", ["sire"]])
def test_saved_and_loaded(code, parents, tmp_path):
    d = records(code)
    fit = rb.MixedModel(ALL, d, {"A": pedigree()}, unknown_parents=parents).fit()
    fit.save(tmp_path / "fit")
    loaded = rb.load(tmp_path / "fit")
    assert loaded.loglik == fit.loglik
    assert loaded.specification.records.unknown_parents == {"sire": 7}
    assert fit.to_dict()["unknown_parents"] == {"sire": 7}
    new = pd.DataFrame({"x": [0.0, 0.0, 1.0], "sire": ["a", code, None]})
    pd.testing.assert_frame_equal(loaded.predict(new), fit.predict(new))
    assert fit.predict(new)["prediction"].iloc[1] == pytest.approx(fit.params["Intercept"])


@pytest.mark.parametrize("code", CODES, ids=repr)
def test_dropped_or_refused_on_request(code):
    d, A = records(code), {"A": pedigree()}
    formula = "y ~ x + us(vm(sire, A) + vm(dam, A))"
    model = rb.MixedModel(formula, d, A, unknown_parents="drop")
    whole = incidence(d["sire"]).any(axis=1) & incidence(d["dam"]).any(axis=1)
    assert model.specification.n == whole.sum() < len(d)
    assert model.specification.records.dropped == {"sire": 7, "dam": 7}
    assert model.specification.records.unknown_parents == {}
    plain = rb.MixedModel(formula, d[whole], A)
    values = {"us(vm(sire, A) + vm(dam, A))": np.eye(2), "residual": 1.0}
    assert model.loglik(values) == pytest.approx(plain.loglik(values), abs=1e-12)
    with pytest.raises(rb.DataError, match=r"unknown parents in sire \(7\), dam \(7\); first rows"):
        rb.MixedModel(formula, d, A, unknown_parents="error")
    assert rb.MixedModel(formula, d[whole], A, unknown_parents="error").specification.n == whole.sum()


def test_the_individual_itself_must_be_known():
    d, A = records(), {"A": pedigree()}
    d.loc[3, "animal"] = None
    assert rb.MixedModel("y ~ x + (1 | vm(animal, A))", d, A).specification.records.dropped == {"animal": 1}
    d.loc[3, "animal"] = "0"
    with pytest.raises(rb.RelationshipError, match=r"factor 'animal'.*: '0'.*unknown_parents=\['animal'\]"):
        rb.MixedModel("y ~ x + (1 | vm(animal, A))", d, A)


def test_columns_whose_names_do_not_tell_are_listed():
    d, A = records().rename(columns={"sire": "bull"}), {"A": pedigree()}
    formula = "y ~ x + (1 | vm(bull, A))"
    with pytest.raises(rb.RelationshipError, match=r"factor 'bull'.*: 0\..*unknown_parents=\['bull'\]"):
        rb.MixedModel(formula, d, A)
    model = rb.MixedModel(formula, d, A, unknown_parents=["bull"])
    assert model.specification.records.unknown_parents == {"bull": 7}
    values = {"residual": 1.3}
    named = rb.MixedModel(ALL, records(), A)
    assert model.loglik(values | {"vm(bull, A)": 0.7}) == named.loglik(values | {"vm(sire, A)": 0.7})
    with pytest.raises(rb.OptionError, match=r"lists 'cow'.*Those that are: 'bull'"):
        rb.MixedModel(formula, d, A, unknown_parents=["bull", "cow"])
    for wrong in ("kept", 3, None, [3]):
        with pytest.raises(rb.OptionError, match=r"unknown_parents=.* must be one of 'keep', 'drop', 'error'"):
            rb.MixedModel(formula, d, A, unknown_parents=wrong)


def test_the_codes_are_those_of_the_pedigree():
    d = records(-9)
    model = rb.MixedModel(ALL, d, {"A": pedigree(unknown=[-9])})
    assert model.specification.records.unknown_parents == {"sire": 7}
    with pytest.raises(rb.RelationshipError, match=r"1 level is not.*: -9"):
        rb.MixedModel(ALL, d, {"A": pedigree()})
    with pytest.raises(rb.RelationshipError, match=r"1 level is not.*: 0"):
        rb.MixedModel(ALL, records(0), {"A": pedigree(unknown=[-9])})
    # An animal of that name is an animal.
    named = rb.Pedigree(["0", *IDS], [None, *SIRES], [None, *DAMS], unknown=())
    assert rb.MixedModel(ALL, records("0"), {"A": named}).specification.records.unknown_parents == {}


def test_a_label_that_is_not_in_the_pedigree_stays_an_error():
    d = records()
    d.loc[2, "sire"] = "zeus"
    with pytest.raises(rb.RelationshipError, match=r"1 level is not in the relationship: 'zeus'"):
        rb.MixedModel(ALL, d, {"A": pedigree()})


def test_a_relationship_that_is_no_pedigree_knows_no_unknown_parent():
    d, A = records(), pedigree()
    given = {"A": rb.Relationship(A.dense(), A.labels)}
    with pytest.raises(rb.RelationshipError, match=r"1 level is not in the relationship: 0"):
        rb.MixedModel(ALL, d, given)
    assert rb.MixedModel(ALL, records(None), given).specification.records.dropped == {"sire": 7}


def relationships() -> dict[str, object]:
    A, grouped = (
        pedigree(),
        rb.Pedigree(IDS, ["G", "G", *SIRES[2:]], ["G", "G", *DAMS[2:5], "G", *DAMS[6:]], groups=["G"]),
    )
    return {
        "pedigree": A,
        "frame": pd.DataFrame({"id": IDS, "sire": SIRES, "dam": DAMS}),
        "pruned": A.prune(list("abcdefgh")),
        "subset": A.subset(list("abcdefgh")),
        "random groups": grouped.with_random_groups(0.5),
        "metafounders": grouped.with_metafounders(0.2),
        "bulls": rb.Pedigree.from_maternal_grandsires(IDS, SIRES, [None] * 8),
        "dominance": A.dominance(),
        "sex-linked": A.sex_linked(dict(zip(IDS, "mfmfmfmf", strict=True))),
        "single-step": rb.SingleStep(A, (np.eye(3) + 0.1, ["e", "g", "h"])),
    }


@pytest.mark.parametrize("kind", relationships())
def test_every_relationship_made_from_a_pedigree(kind):
    d, K = records(), relationships()[kind]
    model = rb.MixedModel(ALL, d, {"A": K})
    assert model.specification.records.unknown_parents == {"sire": 7}
    design = model.specification.random[0]
    Z = incidence(d["sire"], list(map(str, design.relationship.labels)))
    values = {"vm(sire, A)": 0.7, "residual": 1.3}
    expected = dense_likelihood(d, 0.7 * Z @ design.relationship.dense() @ Z.T)
    assert model.loglik(values) == pytest.approx(expected, abs=1e-8)


def test_several_traits_and_a_plain_factor_of_the_same_column():
    d, A = records().assign(z=lambda f: f["y"] * 0.5 + f["x"]), {"A": pedigree()}
    model = rb.MixedModel("c(y, z) ~ trait + us(trait | vm(sire, A))", d, A, residual="us(trait | units)")
    assert model.specification.n == 2 * len(d)
    assert model.specification.records.unknown_parents == {"sire": 7}
    # Where the column is a factor of its own, an unknown dam has no level, whether missing or 0.
    for code in (0, None):
        both = rb.MixedModel("y ~ x + (1 | vm(dam, A)) + (1 | dam)", records(code), A).specification
        assert both.records.dropped == {"dam": 7}
        assert "0" not in map(str, both.random[1].relationship.labels)


def test_every_record_unknown():
    with pytest.raises(rb.ModelError, match=r"'sire' of the random term 'vm\(sire, A\)' is unknown in every record"):
        rb.MixedModel(ALL, records().assign(sire=0), {"A": pedigree()})


def test_numbers_stay_numbers():
    numbers = {label: k for k, label in enumerate(IDS, start=1)}
    A = rb.Pedigree(range(1, 9), [numbers.get(s, 0) for s in SIRES], [numbers.get(s, 0) for s in DAMS])
    d = records()
    coded = d.assign(sire=d["sire"].map(numbers).fillna(0).astype(int))
    values = {"vm(sire, A)": 0.7, "residual": 1.3}
    expected = rb.MixedModel(ALL, d, {"A": pedigree()}).loglik(values)
    for kind in (int, float, "Int64", str, "category"):
        model = rb.MixedModel(ALL, coded.astype({"sire": kind}), {"A": A})
        assert model.specification.records.unknown_parents == {"sire": 7}
        assert model.loglik(values) == pytest.approx(expected, abs=1e-10)


def test_many_responses_and_cross_validation():
    d, A = records(), {"A": pedigree()}
    fits = rb.fit_many(
        "~ x + (1 | vm(bull, A))", d.rename(columns={"sire": "bull"}), ["y"], A, unknown_parents=["bull"]
    )
    fit = rb.MixedModel(ALL, d, A).fit()
    assert fits["y"].loglik == pytest.approx(fit.loglik, abs=1e-8)
    assert len(rb.cross_validate(fit, 4, refit=True, progress=False).predictions) == len(d)


def test_command_line(tmp_path, capsys):
    from remlblup.cli import main

    d = records().rename(columns={"sire": "bull"})
    d.to_csv(tmp_path / "d.csv", index=False)
    pd.DataFrame({"id": IDS, "sire": SIRES, "dam": DAMS}).to_csv(tmp_path / "p.csv", index=False)
    call = [
        "fit",
        str(tmp_path / "d.csv"),
        "y ~ x + (1 | vm(bull, A))",
        "--pedigree",
        f"A={tmp_path / 'p.csv'}",
        "--quiet",
    ]
    assert main(call) == 2
    assert "--unknown-parents bull" in capsys.readouterr().err
    assert main([*call, "--unknown-parents", "bull"]) == 0
    assert "an unknown parent adds nothing: bull in 7 of them" in capsys.readouterr().out
