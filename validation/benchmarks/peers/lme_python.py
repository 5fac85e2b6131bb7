"""lme-python: bindings of lme-rs, lme4's formulas on a Rust engine."""

from __future__ import annotations

from typing import Any

from remlblup.validation.benchmarks.peers.base import Answer, Job, Peer


class LmePython(Peer):
    """`lmer` of lme_python, on a polars frame made beforehand."""

    name = "lme-python"
    does = "lmer (REML) from a polars frame, BLUPs and standard errors included"
    package = ("lme-python", "lme_python")

    def load(self) -> None:
        import lme_python
        import polars

        assert lme_python and polars

    def prepare(self, job: Job) -> Any:
        import polars

        frame = job.data.frame
        return job.model.formula, polars.DataFrame({name: frame[name].to_list() for name in frame.columns})

    def run(self, task: Any) -> Any:
        import lme_python

        formula, frame = task
        return lme_python.lmer(formula, frame, reml=True)

    def answer(self, job: Job, task: Any, result: Any) -> Answer:
        names = {term.slope: f"{term.group}.{term.slope}" for term in job.model.random if term.slope}
        estimates: dict[str, float] = {}
        for group, first, second, value, _ in result.var_corr:
            if group == "Residual":
                continue
            label = names.get(first, group) if first == second else f"{group}.cov"
            estimates[label] = float(value)
        estimates["residual"] = float(result.sigma2)
        converged = None if result.converged is None else bool(result.converged)
        return Answer(float(result.log_likelihood), "REML", estimates, converged, result.iterations)


PEER = LmePython()
