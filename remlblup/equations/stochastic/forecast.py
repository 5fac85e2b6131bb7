"""What a fit by products will take: passes over the data, memory of a worker, time."""

from __future__ import annotations

from remlblup.equations.stochastic.blocks import MARKERS
from remlblup.linalg.threads import n_threads
from remlblup.model.specification import Specification
from remlblup.relationship.genomic.relationship import UnformedRelationship

# Of fits of 5,000 × 10,000 and 3,000 × 6,000 genotypes: passes, and columns of all of them.
PASSES, COLUMNS = 100, 2000
# Operations a second of a core in products with packed genotypes, 16 to 100 columns at a time (measured: 30 to 40 GF).
RATE = 30e9


def forecast(spec: Specification, probes: int) -> str:
    """In words, from sizes alone; a hard problem, of a heritability near one, takes several times as many passes."""
    genomic = {
        id(d.relationship): d.relationship for d in spec.random if isinstance(d.relationship, UnformedRelationship)
    }
    vectors = 8.0 * spec.n * probes
    said = f"some {PASSES} products with V of {COLUMNS:,} columns in all; {probes} probes of {vectors / 1e6:,.3g} MB"
    if not genomic:
        return said
    shapes = [r.genotypes.shape for r in genomic.values()]
    flops = sum(4.0 * n * m for n, m in shapes) * COLUMNS
    block = max(n for n, _ in shapes) * (MARKERS + 16.0 * probes)
    time = flops / (RATE * n_threads())
    return (
        f"{said}; {flops / 1e9:,.3g} GF with genotypes, about {time:,.3g} s on the {n_threads()} threads here;"
        f" a worker holds {block / 1e6:,.3g} MB"
    )
