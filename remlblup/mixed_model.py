"""`MixedModel`: from a formula and a data frame to a fit. It composes the layers and holds no mathematics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from os import PathLike
from typing import Any

import pandas as pd

from remlblup.arrays import Array
from remlblup.equations.base import Equations
from remlblup.equations.choice import make_equations
from remlblup.equations.computation import AUTO, Computation
from remlblup.errors import OptionError, check_switch, choose
from remlblup.fit.describe import Description
from remlblup.fit.interrupted import interrupted, interruptible
from remlblup.fit.progress import log_verdict, printer, reporter
from remlblup.fit.solved import Solved
from remlblup.linalg.memory import all_within_memory
from remlblup.linalg.threads import Lock, owned_property, single_threaded
from remlblup.model.doubts import warn_of_doubts
from remlblup.model.specification import Specification, from_formula, from_matrices
from remlblup.reml.convergence import say_unconverged
from remlblup.reml.history import Iteration
from remlblup.reml.journal import Journal
from remlblup.reml.likelihood import log_likelihood
from remlblup.reml.optimum import METHODS, Options
from remlblup.reml.plainer import plainer_start
from remlblup.reml.searches import search_of
from remlblup.reml.singular_residual import equations_at
from remlblup.reml.starts import checked_starts
from remlblup.result import Fit


@all_within_memory
class MixedModel:
    """A linear mixed model y = Xβ + Zu + e, u ~ N(0, G), e ~ N(0, R).

    Parameters
    ----------
    formula : str
        ``response ~ fixed + (effects | group) + …``. The fixed part is a Wilkinson formula (factors, covariates,
        interactions, ``poly``, ``bs``); random terms are ``(1 | g)``, ``(1 + x | g)`` (unstructured), ``(1 + x ||
        g)`` and ``diag(…)`` (independent), ``(1 | a/b)``, and ``vm(factor, NAME)`` for a relationship.
    data : DataFrame or str
        pandas, polars, pyarrow (through narwhals), a mapping of columns, a list of rows, or the name of a file: CSV,
        TSV, parquet, feather, .xlsx.
    relationships : mapping, optional
        NAME → `Pedigree`, `Relationship`, `Genotypes`, a labelled matrix K, or the file of a pedigree or a matrix.
    residual : str
        Structure of R; ``"units"``: independent with one variance. ``"known(O)"`` is the covariance matrix of the
        records in ``relationships={"O": …}``, ``"known(v)"`` a column of variances; both may have ``+ units``.
    weights : str, optional
        Column of known weights w: R = σ² diag(1/w).
    missing : {"drop", "error"}
        What to do with rows where a used column is missing.
    unknown_parents : {"keep", "drop", "error"} or sequence of str
        Of a record whose sire or dam is missing, or a code that the pedigree reads as unknown, in ``vm(sire, A)``: keep
        it, the unknown parent adding nothing, drop it, or refuse it. Columns hold parents if their name is known for
        one (sire, dam, mgs, …), or they are in a sum (neighbours), or not first in a term; a list names them instead.
    engine : {"auto", "dense", "sparse", "spectral", "stochastic"}
        How V is worked with: Henderson's equations (sparse, or dense where small), V itself ("dense", where a
        relationship is dense), or V made tridiagonal once ("spectral", one relationship and independent residuals).
        "auto" takes the one with the fewest flops; `describe` says which and why. "stochastic", never taken by itself,
        forms and factorises nothing of the size of the data: products, and random probes with a Monte Carlo error.
    device : {"cpu", "cuda"}
        Where V is worked with, for ``engine="dense"``.
    client : optional
        Of workers that share the products of ``engine="stochastic"``: a ``dask.distributed.Client``.

    Raises
    ------
    RemlBlupError
        One of its subclasses, naming what is wrong with the formula, data or relationships.

    Warns
    -----
    CodesWarning
        Where numbers that look like the codes of a factor stand as a covariate in the fixed part.
    RemlBlupWarning
        Where a relationship is not used, traits share a mean, a sum may be meant as several terms, or records repeat.

    Examples
    --------
    >>> round(rb.MixedModel("Reaction ~ Days + (1 | Subject)", sleep).fit().loglik, 4)
    -893.2325
    """

    @single_threaded
    def __init__(
        self,
        formula: str,
        data: Any,
        relationships: Mapping[str, Any] | None = None,
        residual: str = "units",
        weights: str | None = None,
        *,
        missing: str = "drop",
        engine: str = "auto",
        unknown_parents: str | Sequence[str] = "keep",
        device: str = "cpu",
        client: Any = None,
    ):
        self.computation, self._lock = Computation.checked(engine, device, client), Lock()
        self.specification: Specification = from_formula(
            formula, data, relationships, residual, weights, missing, unknown_parents
        )
        warn_of_doubts(self.specification, relationships)

    @classmethod
    @single_threaded
    def from_matrices(
        cls,
        y: Any,
        X: Any,
        Z: Sequence[Any] = (),
        K: Sequence[Any] | None = None,
        names: Sequence[str] | None = None,
        *,
        weights: Any = None,
        fixed_names: Sequence[str] | None = None,
        effects: Sequence[Sequence[str] | None] | None = None,
        structures: Sequence[str | None] | None = None,
        engine: str = "auto",
        device: str = "cpu",
        client: Any = None,
    ) -> MixedModel:
        """The same model from the matrices themselves.

        Parameters
        ----------
        y : (n,) records
        X : (n, p) fixed-effect design, dense or sparse
        Z : sequence of (n, q_k) random-effect designs, one per term; in its place a list of several, an effect each
            over one K
        K : sequence of (q_k, q_k) relationship matrices over the columns of Z_k; None for the identity.
            A `Pedigree` or a `Relationship` (which may hold an inverse) is taken as it is.
        names : names of the terms (default u1, u2, …)
        weights : (n,) known weights
        fixed_names : names of the columns of X (default x0, x1, …)
        effects : names of the effects of each term of several Z (default z1, z2, …), None for others
        structures : Σ over these, by its keyword: "us" (default), "diag", "id", "cs", "csh", "corg" or "corgh"
        engine, device, client : as of `MixedModel`

        Returns
        -------
        MixedModel

        Examples
        --------
        >>> Z = np.kron(np.eye(3), np.ones((2, 1)))
        >>> rb.MixedModel.from_matrices([1.0, 2.0, 4.0, 3.0, 7.0, 5.0], np.ones((6, 1)), [Z]).fit().converged
        True
        """
        computation = Computation.checked(engine, device, client)
        specification = from_matrices(y, X, Z, K, names, weights, fixed_names, effects, structures)
        warn_of_doubts(specification, None)
        return cls._of(specification, computation)

    @classmethod
    def _of(cls, specification: Specification, computation: Computation = AUTO) -> MixedModel:
        """The model of a specification; nothing is said of its columns, as where a model is made again."""
        model = cls.__new__(cls)
        model.computation, model.specification, model._lock = computation, specification, Lock()
        return model

    @owned_property
    def _equations(self) -> Equations:
        return make_equations(self.specification, self.computation)

    @interruptible
    @single_threaded
    def fit(
        self,
        method: str = "REML",
        algorithm: str = "auto",
        start: Mapping[str, Any] | None = None,
        fix: Mapping[str, Any] | None = None,
        constrain: bool = True,
        max_iterations: int | None = None,
        tolerance: float = 1e-8,
        progress: bool | None = None,
        starts: int | str = "auto",
        checkpoint: str | PathLike[str] | None = None,
        callback: Callable[[Iteration], object] | None = None,
        seed: int = 0,
        probes: int | None = None,
    ) -> Fit:
        """Estimate the variance components, and with them β̂ and û.

        Parameters
        ----------
        method : {"REML", "ML"}
        algorithm : {"auto", "ai", "em", "px-em"}
            Average information alone, EM, parameter-expanded EM, or ("auto") AI with EM as its rescue.
        start, fix : mapping, optional
            Term → variance, covariance matrix, or mapping of parameter names; for some terms or all.
        constrain : bool
            Keep variances ≥ 0 and covariance matrices positive semidefinite. If False, components
            may be negative as long as V is positive definite.
        max_iterations : int, optional
            Default 200, and 20 000 for the EM algorithms.
        tolerance : float
            Limit of the scale-free gradient (score × standard error); see `Fit.convergence`.
        progress : bool, optional
            Print a line per iteration, and before a long fit its sizes; by default only on a terminal.
        starts : int or "auto"
            From how many points to search; the highest end is taken. "auto": from one, and where the likelihood can
            have several maxima and that is cheap from others too (one variance beside the residual's: along all of h²;
            up to 200 records under `ar1`, `toep`, `csh`, `fa` and the like: ten, above 100 records five, and 24 once
            they end at different heights).
            Values of `start` for all parameters are one start.
        checkpoint : str or Path, optional
            A file (.npz) for the state of the fit, written anew after every iteration. If it holds the state of an
            earlier run of the same fit, which was stopped or killed, the fit goes on from there, on the same way to the
            last digit, from where it was begun, if by another version. `max_iterations` (of all runs together) and
            `progress` may be others. The file stays when the fit is done: with it the same fit is at its end at once.
        callback : callable, optional
            Called after every iteration with what a row of `Fit.history` holds, as an object with the attributes
            ``iteration`` (0: the start), ``step``, ``loglik``, ``delta``, ``gradient``, ``decrement``, ``change``,
            ``halvings``, ``seconds``, ``boundary`` (labels), ``theta`` (n_parameters,) and ``left`` (seconds still to
            go, NaN if unknown). Of several starts it is called for the first, and at last for the one that ended
            highest. What it returns is ignored; a `KeyboardInterrupt` raised in it stops the fit as Ctrl-C does. The
            same rows, and the verdict, go to the logger ``remlblup`` of Python's `logging`: rows as DEBUG, the verdict
            as INFO, or WARNING if the fit has not converged.
        seed, probes : int
            Of ``engine="stochastic"``: of its draws, and how many (by default until Monte Carlo errors are small).

        Returns
        -------
        Fit

        Raises
        ------
        OptionError, VarianceError
            If an option or a value in `start` or `fix` cannot be used.
        CheckpointError
            If the file holds something else, such as the state of another fit, or cannot be written. It stays as it is.
        FitInterrupted
            A `KeyboardInterrupt`, on Ctrl-C: its ``fit`` is the best point so far, with its history.

        Warns
        -----
        ConvergenceWarning
            If the fit has not converged: its verdict says why.
        CheckpointWarning
            If the file cannot be written in the middle of the fit, which goes on.

        Examples
        --------
        >>> model.fit(method="ML").converged
        True
        """
        options = Options.checked(method, algorithm, constrain, max_iterations, tolerance, seed, probes)
        if progress is not None:
            check_switch("progress", progress)
        n_starts = checked_starts(starts)
        parameters = self.specification.parameters
        given = parameters.read(start, what="start", complete=False, constrain=constrain)
        fixed = parameters.read(fix, what="fix", complete=False, constrain=constrain)
        if algorithm == "px-em" and self._equations.expansion is None:
            raise OptionError(
                f"algorithm='px-em' is for the mixed model equations, and this model is fitted by the"
                f" {self._equations.stats.engine} engine: leave algorithm= out, or use engine='sparse'."
            )
        printed, report = printer(progress), reporter(progress, callback)
        if printed is not None and (description := self.describe()).is_long:
            print(description, flush=True)
        with self._journal(checkpoint, options, given, fixed, starts) as journal:
            if printed is not None and journal is not None and journal.states:
                print(f"Going on from {checkpoint}:")
            going = options if journal is None else replace(options, journal=journal)
            search = search_of(self._equations, going, fixed, report)
            try:
                with self._equations.lock.now:
                    begin = plainer_start(self._equations, options, given, fixed)
                    optimum = search.highest(given, n_starts, begin)
                log_verdict(self, optimum.convergence)
                say_unconverged(optimum.convergence)
                return Fit(optimum, options)
            except KeyboardInterrupt as stop:
                raise interrupted(search, Fit) from stop

    def _journal(
        self, checkpoint: Any, options: Options, given: Array, fixed: Array, starts: object
    ) -> AbstractContextManager[Journal | None]:
        """The journal of a fit in the file `checkpoint`; None without."""
        if checkpoint is None:
            return nullcontext()
        from remlblup.storage.checkpoint import checkpointed
        from remlblup.storage.fingerprint import fingerprint

        is_open = bool(((given != given) & (fixed != fixed)).any())  # NaN where not given
        return checkpointed(checkpoint, fingerprint(self._equations, options, given, fixed, starts), is_open)

    @single_threaded
    def solve(self, variances: Mapping[str, Any], *, method: str = "REML") -> Solved:
        """Henderson's mixed model equations at known variances: β̂, û, standard errors, PEV, reliability.

        Parameters
        ----------
        variances : mapping
            Every term and ``residual``: a variance, a covariance matrix, or a mapping of parameter names.
        method : {"REML", "ML"}, of the log-likelihood

        Returns
        -------
        Solved : β̂, û, their errors and predictions at these variances

        Examples
        --------
        >>> solved = model.solve({"Subject": [[600, 10], [10, 35]], "residual": 650})
        >>> solved.fixed_effects["estimate"].round(3).tolist()
        [251.405, 10.467]
        """
        choose("method", method, METHODS)
        theta = self.specification.parameters.read(variances, what="variances", complete=True)
        with self._equations.lock.now:
            equations, _ = equations_at(self._equations, theta)
            return Solved(equations, equations.solve(theta, ml=method == "ML"), method)

    @single_threaded
    def loglik(self, variances: Mapping[str, Any], *, method: str = "REML") -> float:
        """The (RE)ML log-likelihood at given variances, with all constants.

        Parameters
        ----------
        variances : term → variance, matrix, or mapping of parameter names, as `Fit.variances`
        method : {"REML", "ML"}

        Returns
        -------
        float : ℓ with all constants

        Examples
        --------
        >>> round(model.loglik({"Subject": [[600, 10], [10, 35]], "residual": 650}), 4)
        -871.8174
        """
        choose("method", method, METHODS)
        theta = self.specification.parameters.read(variances, what="variances", complete=True, constrain=False)
        ml = method == "ML"
        with self._equations.lock.now:
            equations, _ = equations_at(self._equations, theta)
            return log_likelihood(equations, equations.solve(theta, ml=ml), ml)

    @single_threaded
    def approximate_reliabilities(self, variances: Mapping[str, Any], term: str) -> pd.DataFrame:
        """Approximate reliabilities of a pedigree term at known variances, without factorising the equations.

        For models whose exact prediction error variances are out of reach; labelled as approximate. Correlations with
        the exact ones are about 0.99; they are some hundredths too high where families share fixed groups.

        Parameters
        ----------
        variances : mapping, as for `solve`
        term : a scalar term over a `Pedigree`, beside independent residuals

        Returns
        -------
        DataFrame by animal: reliability, accuracy, pev, effective_records, method.

        Examples
        --------
        >>> calves = rb.datasets.load("mrode_weaning")
        >>> animal = rb.MixedModel("gain ~ sex + (1 | vm(animal, A))", calves, {"A": pedigree})
        >>> rough = animal.approximate_reliabilities({"vm(animal, A)": 20, "residual": 40}, "vm(animal, A)")
        """
        from remlblup.fit.errors.approximate import approximate_table

        theta = self.specification.parameters.read(variances, what="variances", complete=True)
        return approximate_table(self.specification, theta, term)

    @property
    def _memory_predicted(self) -> str:
        """What `describe` says of memory, where the equations are there, for an error."""
        made = "_equations" in self.__dict__
        return f"Predicted were {self.describe().memory_text}. " if made else ""

    def describe(self) -> Description:
        """Sizes of the model and of its equations, and the engine chosen; print it.

        Returns
        -------
        Description : ``stats``, ``memory``, ``terms``; ``print`` it

        Examples
        --------
        >>> model.describe().random
        36
        """
        return Description.of(self._equations)

    def __repr__(self) -> str:
        spec = self.specification
        name = spec.formula.text if spec.formula else "from matrices"
        return f"<MixedModel {name}: {spec.n:,} records, {spec.p:,} fixed and {spec.n_random:,} random effects>"
