"""How a model is to be worked with: by which engine, on which device, with whose workers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from remlblup.errors import OptionError, choose

ENGINES = ("auto", "dense", "sparse", "spectral", "stochastic")
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Computation:
    """What was asked for, carried to wherever equations of the same model are made again.

    Attributes
    ----------
    engine : one of `ENGINES`
    device : one of `DEVICES`
    client : of workers that share products, for the engine that has some
    """

    engine: str = "auto"
    device: str = "cpu"
    client: Any = field(default=None, compare=False, repr=False)

    def __copy__(self) -> Computation:
        """Itself: a client is a connection, of which there is no copy."""
        return self

    def __deepcopy__(self, memo: object) -> Computation:
        return self

    def __reduce__(self) -> tuple[type[Computation], tuple[str, str]]:
        """Without the client: another process has the same products on threads of its own, to the last digit."""
        return Computation, (self.engine, self.device)

    @classmethod
    def checked(cls, engine: str, device: str, client: Any) -> Computation:
        """As the user gives it.

        Raises
        ------
        OptionError
            If one of them is not known, or does not go with the engine.
        """
        choose("engine", engine, ENGINES)
        choose("device", device, DEVICES)
        if device != "cpu" and engine != "dense":
            raise OptionError(
                f"device={device!r} is for V itself, and engine={engine!r} is something else: write engine='dense', or"
                " leave device= out."
            )
        if client is not None and engine != "stochastic":
            raise OptionError(
                f"client= is for an engine whose products are shared among workers, and engine={engine!r} works on"
                " this machine alone: leave client= out."
            )
        return cls(engine, device, client)


AUTO = Computation()
"""The engine with the fewest flops, on this machine."""
