"""GPBoost: maximum likelihood for grouped random effects."""

from __future__ import annotations

from typing import Any

from remlblup.validation.benchmarks.model import Case
from remlblup.validation.benchmarks.peers.base import Answer, Job, Peer


class Gpboost(Peer):
    """`GPModel` with grouped random effects; ML only, and no covariance between intercepts and slopes.

    With its defaults it solves and takes the log-determinant of crossed factors iteratively, with random
    probes: the log-likelihood it maximises and reports is an approximation.
    """

    name = "gpboost"
    does = "GPModel + fit (ML; iterative for crossed factors) + predict_training_data_random_effects; X made beforehand"
    package = ("gpboost", "gpboost")
    inversion = "default"

    def can(self, case: Case) -> str:
        return super().can(case) or ("no covariance of intercepts and slopes" if case.model.slopes else "")

    def prepare(self, job: Job) -> Any:
        import formulaic

        frame = job.data.frame
        X = formulaic.model_matrix(job.model.fixed, frame).to_numpy(float)
        return frame[[term.group for term in job.model.random]], X, frame[job.model.response].to_numpy(float)

    def run(self, task: Any) -> Any:
        import gpboost

        groups, X, y = task
        model = gpboost.GPModel(group_data=groups, likelihood="gaussian", matrix_inversion_method=self.inversion)
        model.fit(y=y, X=X)
        assert len(model.predict_training_data_random_effects())
        return model

    def answer(self, job: Job, task: Any, result: Any) -> Answer:
        residual, *variances = result.get_cov_pars(format_pandas=False)
        labels = [term.group for term in job.model.random]
        approximate = self.inversion == "default" and job.model.crossed
        return Answer(
            loglik=-float(result.get_current_neg_log_likelihood()),
            method="ML",
            estimates={**dict(zip(labels, map(float, variances), strict=True)), "residual": float(residual)},
            iterations=int(result._get_num_optim_iter()),
            note="approximate log-likelihood" if approximate else "",
        )


class GpboostCholesky(Gpboost):
    """The same with its exact method."""

    name = "gpboost-chol"
    does = "the same with matrix_inversion_method='cholesky', which is exact"
    inversion = "cholesky"

    def can(self, case: Case) -> str:
        return super().can(case) or ("" if case.model.crossed else "the same as gpboost")


PEER, CHOLESKY = Gpboost(), GpboostCholesky()
