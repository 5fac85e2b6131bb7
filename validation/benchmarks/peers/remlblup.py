"""remlblup itself, as a whole and the fit alone."""

from __future__ import annotations

from typing import Any

from remlblup.validation.benchmarks.model import Case
from remlblup.validation.benchmarks.peers.base import Answer, Available, Job, Peer, components


class Whole(Peer):
    """Pedigree, model, fit, BLUPs with their reliabilities, fixed effects with their tests."""

    name = "remlblup"
    does = "Pedigree (SingleStep) + MixedModel + fit + random_effects (PEV, reliability) + fixed_effects"

    def available(self) -> Available:
        import remlblup

        return Available(remlblup.__version__)

    def can(self, case: Case) -> str:
        return ""

    def load(self) -> None:
        from remlblup import MixedModel, Pedigree

        assert MixedModel and Pedigree

    def run(self, task: Job) -> Any:
        fit = _fit(_model(task))
        assert len(fit.random_effects) and len(fit.fixed_effects)
        return fit

    def answer(self, job: Job, task: Any, result: Any) -> Answer:
        answer = Answer(
            loglik=float(result.loglik),
            estimates=_estimates(job, result),
            converged=bool(result.converged),
            iterations=int(result.history["iteration"].max()),
        )
        if not job.model.pedigree:
            ml = _fit(_model(job), "ML")
            answer.loglik_ml, answer.estimates_ml = float(ml.loglik), _estimates(job, ml)
        return answer

    def finish(self, job: Job, result: Any) -> None:
        if job.matrix:
            save_matrix(result, job.matrix)


class FitOnly(Whole):
    """The model and its fit, the pedigree at hand; no tables."""

    name = "remlblup-fit"
    does = "MixedModel + fit, with the Pedigree at hand and no tables"

    def prepare(self, job: Job) -> Any:
        return job, _pedigree(job)

    def run(self, task: Any) -> Any:
        return _fit(_model(*task))

    def finish(self, job: Job, result: Any) -> None:
        """The whole run writes the matrix."""


def _pedigree(job: Job) -> Any:
    from remlblup import Pedigree, SingleStep

    frame = job.data.pedigree
    if frame is None:
        return None
    pedigree = Pedigree(frame["id"], frame["sire"], frame["dam"])
    return pedigree if job.data.genomic is None else SingleStep(pedigree, job.data.genomic)


def _model(job: Job, pedigree: Any = None) -> Any:
    from remlblup import MixedModel

    pedigree = _pedigree(job) if pedigree is None else pedigree
    relationships = None if pedigree is None else {"A": pedigree}
    return MixedModel(job.model.formula, job.data.frame, relationships=relationships)


def _estimates(job: Job, fit: Any) -> dict[str, float]:
    blocks = [fit.covariance(design.name).to_numpy() for design in fit.specification.random]
    return components(job.model, blocks, fit.covariance("residual").to_numpy()[0, 0])


def _fit(model: Any, method: str = "REML") -> Any:
    return model.fit(method, progress=False)


def save_matrix(fit: Any, path: str) -> None:
    """Write the lower triangle of C at the estimates of a fit (compressed columns), as the yardstick takes it."""
    import numpy as np
    import scipy.sparse as sp

    equations, solution = fit._equations, fit._solution
    layout, values = equations.layout, equations.assembled(fit._solution)
    C = sp.csc_array((values[: layout.nnz], layout.indices, layout.indptr), shape=(layout.m, layout.m))
    for block, coefficient in zip(layout.blocks, values[layout.nnz :], strict=True):
        i, j = np.tril_indices(len(block.at))
        C = C + sp.csc_array((coefficient * block.values[i, j], (block.at[i], block.at[j])), shape=C.shape)
    C.sort_indices()
    np.savez(
        path,
        indptr=C.indptr,
        indices=C.indices,
        values=C.data,
        iterations=int(fit.history["iteration"].max()),
        logdet=solution.logdet,
    )


WHOLE, FIT = Whole(), FitOnly()
