"""The stored answers of models with covariance structures: several traits, fields, times,
direct and maternal effects."""

from __future__ import annotations

from remlblup.validation.answers import Digits
from remlblup.validation.reference_table import BLUETITS, ENVS, GRYPHON, SEX, WARCOLAK, Stored, same

_AGES = (8, 10, 12, 14)
_US_BIRD, _US_NEST = "us(trait | vm(animal, A))", "us(trait | fosternest)"
US_GRYPHON = "us(trait | vm(ANIMAL, A))"
MATERNAL = "us(vm(ANIMAL, A) + vm(MOTHER, A))"
_GROWTH = "us(leg(X, 1) | SUBJECT)"


def _traits(theirs: str, ours: str, *names: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """``animal:tarsus`` and ``animal:tarsus,back`` in our term over traits."""
    pairs = {f"{a},{b}": (a, b) for i, a in enumerate(names) for b in names[i + 1 :]}
    return {f"{theirs}:{key}": (ours, of) for key, of in ({n: (n,) for n in names} | pairs).items()}


_FIELD = {"rho_row": ("residual", ("correlation(row)",)), "rho_col": ("residual", ("correlation(col)",))}
_NUGGET = {"spatial": ("residual", ("Intercept",)), "nugget": ("units", ("Intercept",))}
_DIRECT = (MATERNAL, ("ANIMAL",))
_BETWEEN = (MATERNAL, ("ANIMAL", "MOTHER"))
_DAM = (MATERNAL, ("MOTHER",))
_BOTH = {"direct": (MATERNAL, "ANIMAL"), "maternal": (MATERNAL, "MOTHER")}

STRUCTURED_ANSWERS: tuple[Stored, ...] = (
    Stored("kempton.slatehall.ar1ar1", "yield ~ gen", residual="ar1(row):ar1(col)", where=_FIELD),
    Stored(
        "kempton.slatehall.ar1ar1_units", "yield ~ gen", residual="ar1(row):ar1(col) + units", where=_FIELD | _NUGGET
    ),
    Stored(
        "kempton.slatehall.ar1ar1_units_genrandom",
        "yield ~ 1 + (1 | gen)",
        same("gen"),
        residual="ar1(row):ar1(col) + units",
        where=_FIELD | _NUGGET,
    ),
    Stored(
        "btdata.bivar_animal",
        f"c(tarsus, back) ~ 0 + trait + trait:(sex + hatchdate) + {_US_BIRD} + {_US_NEST}",
        pedigrees=BLUETITS,
        residual="us(trait | units)",
        where=_traits("animal", _US_BIRD, "tarsus", "back")
        | _traits("fosternest", _US_NEST, "tarsus", "back")
        | _traits("residual", "residual", "tarsus", "back"),
        fixed={f"{t}:{x}": f"trait{t}:{x}" for t in ("tarsus", "back") for x in ("sexMale", "sexUNK", "hatchdate")}
        | {f"{t}:(Intercept)": f"trait{t}" for t in ("tarsus", "back")},
        note="0 + trait makes their coefficients; trait:(sex + hatchdate) alone is the same model (its own case)",
    ),
    Stored(
        "gryphon.bivar_animal",
        f"c(BWT, TARSUS) ~ 0 + trait + {US_GRYPHON}",
        pedigrees=GRYPHON,
        residual="us(trait | units)",
        where=_traits("animal", US_GRYPHON, "BWT", "TARSUS") | _traits("residual", "residual", "BWT", "TARSUS"),
        effects={f"animal_{t}": (US_GRYPHON, t) for t in ("BWT", "TARSUS")},
        note="missing tarsus lengths drop that cell; sommer's own figures in the file impute them: another model",
    ),
    Stored(
        "gryphon.bwt_maternal_us_psd",
        f"BWT ~ SEX + {MATERNAL}",
        pedigrees=GRYPHON,
        where={"direct": _DIRECT, "cov": _BETWEEN, "maternal": _DAM},
        effects=_BOTH,
        digits=Digits(10.0, 5.0, 7.0, 8.0, 8.0, 7.0, 7.0),
        note=(
            "the stored values stop at a score of 1.1e-7, ours at 1e-11: the covariance, near zero, "
            "differs in its 6th digit"
        ),
    ),
    Stored(
        "gryphon.bwt_maternal_us_pe",
        f"BWT ~ SEX + {MATERNAL} + (1 | MOTHER)",
        pedigrees=GRYPHON,
        constrain=False,
        tolerance=1e-10,
        digits=Digits(10.0, 7.0, 8.0, 8.0, 8.0, 8.0, 8.0),
        where={
            "direct": _DIRECT,
            "cov(direct,maternal)": _BETWEEN,
            "maternal": _DAM,
            "maternal_env": ("MOTHER", ("Intercept",)),
        },
        effects=_BOTH,
        note="a negative maternal variance: constrain=False; with constraints see gryphon.bwt_maternal_us_pe.boundary",
    ),
    Stored(
        "machines.us (us)",
        "score ~ Machine + us(Machine | Worker)",
        {"Worker": "us(Machine | Worker)"},
    ),
    Stored(
        "example.diag (diag)",
        "Yield ~ Env + diag(Env | Name)",
        where={f"{e}:Name": ("diag(Env | Name)", (e,)) for e in ENVS},
    ),
    Stored(
        "example.us (unconstrained)",
        "Yield ~ Env + us(Env | Name)",
        constrain=False,
        where={f"{a},{b}": ("us(Env | Name)", (a, b)) for a in ENVS for b in ENVS},
    ),
    Stored(
        "legendre.rr_us",
        f"Y ~ Xf + {_GROWTH}",
        where={"leg0": (_GROWTH, ("leg0",)), "leg1": (_GROWTH, ("leg1",)), "leg0,leg1": (_GROWTH, ("leg0", "leg1"))},
    ),
    Stored(
        "nadiv.warcolak.trait1_AD",
        "trait1 ~ sex + (1 | vm(ID, A)) + (1 | vm(ID, D))",
        {"A": "vm(ID, A)", "D": "vm(ID, D)"},
        WARCOLAK,
        dominance={"D": "A"},
        note="D computed here from A, given as a sparse matrix",
    ),
)

NLME_ANSWERS: tuple[Stored, ...] = (
    Stored(
        "orthodont.us_residual",
        "distance ~ age * Sex",
        residual="us(age | Subject)",
        levels=SEX,
        where={f"{a},{b}": ("residual", (f"{a}", f"{b}")) for a in _AGES for b in _AGES},
    ),
    Stored(
        "orthodont.ar1_residual",
        "distance ~ age * Sex",
        residual="ar1(age | Subject)",
        levels=SEX,
        where={"resid": ("residual", ("Intercept",)), "rho": ("residual", ("correlation",))},
    ),
    Stored(
        "orthodont.ar1h_residual",
        "distance ~ age * Sex",
        residual="ar1h(age | Subject)",
        levels=SEX,
        where={f"var_age{a}": ("residual", (f"{a}",)) for a in _AGES} | {"rho": ("residual", ("correlation",))},
    ),
    Stored(
        "orthodont.ri_varident_sex",
        "distance ~ age * Sex + (1 | Subject)",
        {"Subject": "Subject"},
        residual="diag(Sex | units)",
        levels=SEX,
        where={
            "var_Subject": ("Subject", ("Intercept",)),
            "resid_SexMale": ("residual", ("Male",)),
            "resid_SexFemale": ("residual", ("Female",)),
        },
    ),
)
