"""Where products with genotypes run: on the threads of this machine, or on the workers of client=."""

from __future__ import annotations

from remlblup.equations.computation import Computation
from remlblup.equations.stochastic.blocks import Workers, genomic_part
from remlblup.equations.stochastic.workers import Threads
from remlblup.errors import OptionError
from remlblup.model.specification import Specification


def workers_of(asked: Computation, spec: Specification) -> Workers:
    """The workers asked for.

    Raises
    ------
    OptionError
        If there is nothing in the model for a client, or it is none.
    WorkersError
        If it is closed, or has no workers.
    """
    if asked.client is None:
        return Threads()
    if all(genomic_part(design.relationship) is None for design in spec.random):
        raise OptionError(
            "client= shares products with genotypes, and no term of this model has any: leave it out, or give"
            " rb.Genotypes, or rb.genomic_relationship(..., formed=False), as the relationship or as G of"
            " rb.SingleStep."
        )
    from remlblup.equations.stochastic.dask_workers import of_client

    return of_client(asked.client)
