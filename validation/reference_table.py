"""The stored answers: which model each file is, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from remlblup.validation.answers import Digits
from remlblup.validation.reference_files import Where


@dataclass(frozen=True)
class Stored:
    """An answer file of the reference folder.

    Attributes
    ----------
    name : of the answer file, without ``.json``; in brackets behind it, which spelling of the model this is
    formula : ours
    terms : their random factor → our term
    pedigrees : NAME → file and its columns id, sire, dam
    matrices : NAME → the file of its relationship matrix
    engine : how V is worked with
    data : of the data file, where it is not the first part of `name`
    factors : columns that are factors though the file does not quote them
    levels : order of the levels of a factor, where R's is not the alphabet's
    where : their component → our term and effects, or our term and the parameter
    residual : structure of R
    constrain : False where the stored optimum is outside the parameter space
    tolerance : of the fit, where the digits required are more than its own promises
    effects : their random factor → our term and effect, where the effect is not the intercept
    fixed : their coefficient → ours in R's spelling, where the two differ by more than coding
    digits : required of each kind, where they are not those of `reference_files.CONVERGED`
    dominance : NAME → the pedigree of `pedigrees` whose dominance relationship matrix it is
    slow : takes more than 20 s where the machine is busy
    note : what there is to know
    """

    name: str
    formula: str
    terms: Mapping[str, str] = field(default_factory=dict)
    pedigrees: Mapping[str, tuple[str, str, str, str]] = field(default_factory=dict)
    matrices: Mapping[str, str] = field(default_factory=dict)
    engine: str = "auto"
    data: str = ""
    factors: tuple[str, ...] = ()
    levels: Mapping[str, list[str]] = field(default_factory=dict)
    where: Where = field(default_factory=dict)
    residual: str = "units"
    constrain: bool = True
    tolerance: float = 1e-8
    effects: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    digits: Digits | None = None
    dominance: Mapping[str, str] = field(default_factory=dict)
    slow: bool = False
    note: str = ""

    @property
    def answer(self) -> str:
        """The answer file, without ``.json``."""
        return self.name.split(" (")[0]

    @property
    def csv(self) -> str:
        """The data file."""
        return f"{self.data or self.answer.rsplit('.', 1)[0]}.csv"


def same(*terms: str) -> dict[str, str]:
    return {t: t for t in terms}


GRYPHON = {"A": ("gryphon.pedigree.csv", "id", "sire", "dam")}
BLUETITS = {"A": ("btdata.pedigree.csv", "animal", "sire", "dam")}
_COWS = {"A": ("pedigreemm.pedCows.csv", "id", "sire", "dam")}
WARCOLAK = {"A": ("nadiv.warcolak.csv", "ID", "Sire", "Dam")}
SEX = {"Sex": ["Male", "Female"]}
ENVS = ("CA.2011", "CA.2012", "CA.2013")
ANIMAL = "vm(ANIMAL, A)"
_BIRD = "vm(animal, A)"
_SINGULAR = "the relationship matrices are singular"
_DIAG, _US = "diag(0 + Env | Name)", "us(0 + Env | Name)"

LME4_ANSWERS: tuple[Stored, ...] = (
    Stored("sleepstudy.ri", "Reaction ~ Days + (1 | Subject)", same("Subject")),
    Stored("sleepstudy.rs_us", "Reaction ~ Days + (Days | Subject)", {"Subject": "Days | Subject"}),
    Stored(
        "sleepstudy.rs_diag",
        "Reaction ~ Days + (Days || Subject)",
        {"Subject": "Days || Subject", "Subject.1": "Days || Subject"},
    ),
    Stored("dyestuff.ri", "Yield ~ 1 + (1 | Batch)", same("Batch")),
    Stored("dyestuff2.ri", "Yield ~ 1 + (1 | Batch)", same("Batch"), note="the batch variance is zero: a boundary"),
    Stored("penicillin.crossed", "diameter ~ 1 + (1 | plate) + (1 | sample)", same("plate", "sample")),
    Stored("pastes.nested", "strength ~ 1 + (1 | batch) + (1 | sample)", same("batch", "sample")),
    Stored(
        "oats.splitplot",
        "yield ~ nitroF * Variety + (1 | Block) + (1 | Block:Variety)",
        same("Block", "Block:Variety"),
    ),
    Stored("oats.nitro_linear", "yield ~ nitro + (1 | Block) + (1 | Block:Variety)", same("Block", "Block:Variety")),
    Stored(
        "machines.worker_machine",
        "score ~ Machine + (1 | Worker) + (1 | Worker:Machine)",
        same("Worker", "Worker:Machine"),
    ),
    Stored("machines.us", "score ~ Machine + (0 + Machine | Worker)", {"Worker": "0 + Machine | Worker"}),
    Stored("orthodont.ri_sex", "distance ~ age * Sex + (1 | Subject)", same("Subject"), levels=SEX),
    Stored(
        "orthodont.rs_us",
        "distance ~ I(age - 11) * Sex + (I(age - 11) | Subject)",
        {"Subject": "I(age - 11) | Subject"},
        levels=SEX,
    ),
    Stored("rail.ri", "travel ~ 1 + (1 | Rail)", same("Rail")),
    Stored("john.alpha.lme4_genfixed", "yield ~ rep + gen + (1 | rb)", same("rb")),
    Stored("john.alpha.lme4_genrandom", "yield ~ rep + (1 | gen) + (1 | rb)", same("gen", "rb")),
    Stored(
        "insteval.s_d_deptservice",
        "y ~ service + (1 | s) + (1 | d) + (1 | dept:service)",
        same("s", "d", "dept:service"),
        slow=True,
        note="73,421 records",
    ),
)

DENSE_ANSWERS: tuple[Stored, ...] = (
    Stored("gryphon.bwt_animal", f"BWT ~ 1 + (1 | {ANIMAL})", {"animal": ANIMAL}, GRYPHON),
    Stored("gryphon.bwt_sex_animal", f"BWT ~ SEX + (1 | {ANIMAL})", {"animal": ANIMAL}, GRYPHON),
    Stored(
        "gryphon.bwt_animal_byear_mother",
        f"BWT ~ SEX + (1 | BYEAR) + (1 | MOTHER) + (1 | {ANIMAL})",
        {"animal": ANIMAL, **same("BYEAR", "MOTHER")},
        GRYPHON,
    ),
    Stored(
        "btdata.tarsus_animal",
        f"tarsus ~ sex + hatchdate + (1 | fosternest) + (1 | {_BIRD})",
        {"animal": _BIRD, **same("fosternest")},
        BLUETITS,
    ),
    Stored(
        "btdata.back_animal",
        f"back ~ sex + hatchdate + (1 | fosternest) + (1 | {_BIRD})",
        {"animal": _BIRD, **same("fosternest")},
        BLUETITS,
    ),
    Stored(
        "pedigreemm.milk.animal_herd",
        "sdMilk ~ lactF + log(dim) + (1 | vm(id, A)) + (1 | herd)",
        {"id": "vm(id, A)", "herd": "herd"},
        _COWS,
    ),
    Stored(
        "pedigreemm.milk.animal_pe_herd",
        "sdMilk ~ lactF + log(dim) + (1 | vm(id, A)) + (1 | id) + (1 | herd)",
        {"id": "vm(id, A)", "pe": "id", "herd": "herd"},
        _COWS,
    ),
    *(
        Stored(
            f"wheat599.Y1_gblup ({engine})",
            "Y1 ~ 1 + (1 | vm(id, G))",
            {"id": "vm(id, G)"},
            matrices={"G": "wheat599.A.csv"},
            engine=engine,
            note=_SINGULAR,
        )
        for engine in ("sparse", "dense", "spectral")
    ),
    *(
        Stored(
            f"technow.gca ({engine})",
            "GY ~ 1 + (1 | vm(dent, Ad)) + (1 | vm(flint, Af))",
            {"dent": "vm(dent, Ad)", "flint": "vm(flint, Af)"},
            matrices={"Ad": "technow.Adent.csv", "Af": "technow.Aflint.csv"},
            engine=engine,
            note=_SINGULAR,
        )
        for engine in ("auto", "sparse", "dense")
    ),
    Stored("nadiv.warcolak.trait1_A", "trait1 ~ sex + (1 | vm(ID, A))", {"A": "vm(ID, A)"}, WARCOLAK),
    Stored("stroup.nin.rcb", "yield ~ gen + (1 | rep)", same("rep"), note="the rows without a plot are dropped"),
    Stored(
        "kempton.slatehall.ib",
        "yield ~ gen + (1 | rep) + (1 | rep:row) + (1 | rep:col)",
        same("rep", "rep:row", "rep:col"),
    ),
    Stored("example.cs", "Yield ~ Env + (1 | Name) + (1 | Env:Name)", same("Name", "Env:Name")),
    Stored("example.diag", f"Yield ~ Env + {_DIAG}", where={f"{e}:Name": (_DIAG, (f"Env{e}",)) for e in ENVS}),
    Stored(
        "example.us",
        f"Yield ~ Env + {_US}",
        where={f"{a},{b}": (_US, (f"Env{a}", f"Env{b}")) for a in ENVS for b in ENVS},
    ),
)
