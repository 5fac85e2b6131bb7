"""What a model amounts to before it is fitted: sizes, fill, flops, the engine and why."""

from __future__ import annotations

from dataclasses import dataclass, field

from remlblup.equations.base import Equations
from remlblup.equations.memory import COMPILED, Memory
from remlblup.linalg.contract import FactorStats
from remlblup.model.unknown_parents import said

# From these on, flops of a factorisation or equations, a fit says what it is about to do.
LONG_FLOPS, LONG_ORDER = 3e9, 300_000


@dataclass(frozen=True)
class Description:
    """Sizes of a model and its equations; ``print`` it.

    Attributes
    ----------
    records, fixed, random : numbers of records, fixed effects and random effects
    terms : (name, effects, levels, structure) of each random term
    residual : the structure of R
    unknown_parents : column → records in which the parent, or the level in a sum, is unknown and adds nothing
    missing : the same in words
    notes : name of a term → what else there is to say of its relationship, its groups of unknown parents
    dense : name of a term → order of the dense matrices of its relationship, and where each is held beside what was
        given
    products : of ``engine="stochastic"``, passes over the data, memory of a worker and time, in words
    stats : order and nonzeros of C and of its factor, flops per factorisation, engine and ordering
    memory : bytes beside the data and the relationships: ``fit``, the most that `fit` takes, and ``all``,
        with `summary`
        and `random_effects`
    """

    records: int
    fixed: int
    random: int
    aliased: int
    terms: tuple[tuple[str, int, int, str], ...]
    residual: str
    stats: FactorStats
    memory: Memory
    unknown_parents: dict[str, int] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    missing: str = ""
    dense: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    products: str = ""

    @classmethod
    def of(cls, equations: Equations) -> Description:
        spec = equations.spec
        terms = tuple((d.name, d.t, d.q, d.structure.keyword) for d in spec.random)
        notes = {d.name: d.relationship.note for d in spec.random if d.relationship.note}
        return cls(
            spec.n,
            spec.p,
            spec.n_random,
            len(spec.fixed.aliased),
            terms,
            spec.residual_text,
            equations.stats,
            equations.memory,
            spec.records.unknown_parents if spec.records else {},
            notes,
            said(spec.records.unknown_parents, spec.formula) if spec.records else "",
            dense_matrices(equations),
            equations.forecast,
        )

    @property
    def memory_text(self) -> str:
        """What the model takes, in words."""
        once = f"; {amount(COMPILED)} once for the compiled functions" if self.stats.engine == "sparse" else ""
        return f"{amount(self.memory.fit)} for the fit; {amount(self.memory.all)} with summary and random effects{once}"

    @property
    def is_long(self) -> bool:
        """Whether an iteration takes a second or so: worth saying what is ahead."""
        return self.stats.flops > LONG_FLOPS or self.stats.n > LONG_ORDER

    def __str__(self) -> str:
        s = self.stats
        lines = [
            f"records          {self.records:,}" + (f" ({self.missing})" if self.missing else ""),
            f"fixed effects    {self.fixed:,}"
            + (f" ({self.aliased} aliased columns set aside)" if self.aliased else ""),
            f"random effects   {self.random:,}",
        ]
        for name, t, q, structure in self.terms:
            note = self.notes.get(name)
            lines.append(f"  {name}: {t} x {q:,} levels, {structure}" + (f"; {note}" if note else ""))
        lines += [
            f"residual         {self.residual}",
            f"equations        order {s.n:,}, {s.nnz_matrix:,} nonzeros below and on the diagonal",
            f"factor           {s.nnz_factor:,} nonzeros, {s.flops / 1e9:.3g} GF per factorisation,"
            f" about {3 * s.flops / 1e9:.3g} GF per iteration with the selected inverse",
            *(
                f"dense block      {g:,} x {g:,} of {name}, {amount(8.0 * g * g)}, held {len(held)} times:"
                f" {', '.join(held)}"
                for name, (g, held) in self.dense.items()
            ),
            *([f"products         {self.products}"] if self.products else []),
            f"memory           {self.memory_text}",
            f"engine           {s.engine}; ordering: {s.ordering} ({s.ordering_reason})",
        ]
        return "\n".join(lines)


def dense_matrices(equations: Equations) -> dict[str, tuple[int, tuple[str, ...]]]:
    """Of each term whose relationship holds dense matrices: their order, and where each is held."""
    found = {}
    for k, design in enumerate(equations.random):
        order, held = design.relationship.dense_matrices
        if held:
            found[design.name] = order, (*held, *equations.dense_parts(k))
    return found


def amount(size: float) -> str:
    """A size in MB or GB."""
    return f"{size / 1e9:,.3g} GB" if size >= 1e9 else f"{max(size, 1e5) / 1e6:,.3g} MB"
