"""What a single-step relationship is weighted, blended and tuned by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from remlblup.errors import OptionError


@dataclass(frozen=True)
class Weights:
    """Of G_w = a 11' + b(αG + βA₂₂), or α(a 11' + bG) + βA₂₂, in H⁻¹ = A⁻¹ + [0 0; 0 τG_w⁻¹ − ωA₂₂⁻¹].

    Attributes
    ----------
    tau, omega, alpha, beta : τ, ω, α, β
    tune : which tuning finds a and b
    blend_first : which of the two it is
    """

    tau: float
    omega: float
    alpha: float
    beta: float
    tune: int
    blend_first: bool

    @classmethod
    def checked(
        cls, tau: float, omega: float, alpha: float | None, beta: float | None, tune: int, blend_first: bool
    ) -> Weights:
        """As the user gives them.

        Raises
        ------
        OptionError
            For a weight out of its range.
        """
        alpha, beta = blending(alpha, beta)
        check_weights(tau, omega, alpha, beta)
        return cls(float(tau), float(omega), float(alpha), float(beta), tune, bool(blend_first))

    def shares(self, a: float, b: float) -> tuple[float, float, float]:
        """What of 11', G and A₂₂ there is in G_w tuned by a and b."""
        if self.blend_first:
            return a, b * self.alpha, b * self.beta
        return self.alpha * a, self.alpha * b, self.beta


def check_weights(tau: float, omega: float, alpha: float, beta: float) -> None:
    """Raise `OptionError` for a weight out of its range."""
    rules = (
        ("tau", tau, tau > 0, "above 0"),
        ("omega", omega, omega >= 0, "at least 0"),
        ("alpha", alpha, alpha >= 0, "at least 0"),
        ("beta", beta, beta >= 0, "at least 0"),
        ("alpha + beta", alpha + beta, alpha + beta > 0, "above 0"),
    )
    for name, value, holds, rule in rules:
        if not (holds and np.isfinite(value)):
            raise OptionError(f"{name} of single-step must be {rule} and finite; {value} was given.")


def blending(alpha: float | None, beta: float | None) -> tuple[float, float]:
    """Weights of G and A₂₂; one that is not given completes the other to 1."""
    if alpha is None and beta is None:
        return 0.95, 0.05
    if alpha is not None and beta is not None:
        return alpha, beta
    name, given = ("alpha", alpha) if beta is None else ("beta", beta)
    if given is None or isinstance(given, bool) or not 0.0 <= given <= 1.0:
        raise OptionError(
            f"{name} of single-step must be from 0 to 1, the other weight completing it to 1; {given} was given. Give"
            " both alpha and beta for weights of another sum."
        )
    rest = round(1.0 - given, 15)  # 1 - 0.95 is 0.05, as written
    return (given, rest) if name == "alpha" else (rest, given)
