"""The array libraries that can work on a card, and what each calls that which the array API standard does not name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from remlblup.errors import DependencyError, DeviceError

INSTALL = 'pip install "remlblup[gpu]", and with it CuPy (cupy-cuda12x, cupy-cuda13x) or PyTorch'


@dataclass(frozen=True)
class Library:
    """An array library at work on one device.

    Attributes
    ----------
    name : of the library and of the device, for messages
    xp : its namespace of the array API standard
    device : what that calls the device
    array : a numpy array → one on the device
    host : the reverse
    factor : A (n, n) → its Cholesky factor L
    lower_inverse : L (n, n) lower triangular → L⁻¹
    free : bytes that can be allocated on the device; infinity where that is this machine
    indefinite : what `factor` raises where there is none
    exhausted : what it raises when the device has no more memory
    failed : what it raises when something else is wrong with the device
    wait : until the device is done with what it was told
    beside : what passes beside a matrix while it is factorised in place, as a share of it: the largest product, and
        copies of its factors where the library makes some of parts of a matrix
    """

    name: str
    xp: Any
    device: Any
    array: Callable[[np.ndarray], Any]
    host: Callable[[Any], np.ndarray]
    factor: Callable[[Any], Any]
    lower_inverse: Callable[[Any], Any]
    free: Callable[[], float]
    indefinite: tuple[type[BaseException], ...] = (np.linalg.LinAlgError,)
    exhausted: tuple[type[BaseException], ...] = ()
    failed: tuple[type[BaseException], ...] = ()
    wait: Callable[[], None] = lambda: None
    beside: float = 0.125

    def __reduce__(self) -> tuple[Callable[[], Library], tuple[()]]:
        """A copy or a pickle is the library that is found where it comes to."""
        return on_hand, ()


def cupy_library(compat: ModuleType) -> Library:
    """CuPy on its current device."""
    cupy = importlib.import_module("cupy")
    errstate = importlib.import_module("cupyx").errstate
    from_scipy = importlib.import_module("cupyx.scipy.linalg")
    runtime, pool = cupy.cuda.runtime, cupy.get_default_memory_pool()
    name = runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())["name"].decode()

    def factor(A: Any) -> Any:
        with errstate(linalg="raise"):
            return cupy.linalg.cholesky(A)

    def lower_inverse(L: Any) -> Any:
        return from_scipy.solve_triangular(L, cupy.eye(len(L)), lower=True)

    return Library(
        f"{name}, by CuPy {cupy.__version__}",
        compat,
        None,
        cupy.asarray,
        cupy.asnumpy,
        factor,
        lower_inverse,
        lambda: float(runtime.memGetInfo()[0] + pool.free_bytes()),
        (np.linalg.LinAlgError,),
        (cupy.cuda.memory.OutOfMemoryError,),
        (RuntimeError,),  # those of CUDA, cuBLAS and cuSOLVER are
        lambda: cupy.cuda.get_current_stream().synchronize(),
        0.625,
    )


def torch_library(compat: ModuleType, device: str = "cuda") -> Library:
    """PyTorch on its current card, or on the processor."""
    torch = importlib.import_module("torch")

    def array(values: np.ndarray) -> Any:
        return torch.tensor(values, device=device)

    def lower_inverse(L: Any) -> Any:
        return torch.linalg.solve_triangular(L, torch.eye(len(L), dtype=L.dtype, device=L.device), upper=False)

    def free() -> float:
        kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return float(torch.cuda.mem_get_info()[0] + kept)

    on_card = device == "cuda"
    return Library(
        f"{torch.cuda.get_device_name() if on_card else 'the processor'}, by PyTorch {torch.__version__}",
        compat,
        device,
        array,
        lambda a: a.cpu().numpy(),
        torch.linalg.cholesky,
        lower_inverse,
        free if on_card else lambda: np.inf,
        (torch.linalg.LinAlgError,),
        (torch.cuda.OutOfMemoryError,),
        (RuntimeError,) if on_card else (),
        torch.cuda.synchronize if on_card else lambda: None,
    )


def standard_library(xp: Any, name: str) -> Library:
    """Any namespace of the standard, on this machine."""

    def lower_inverse(L: Any) -> Any:
        return xp.tril(xp.linalg.inv(L))

    return Library(name, xp, None, xp.asarray, np.asarray, xp.linalg.cholesky, lower_inverse, lambda: np.inf)


def on_hand() -> Library:
    """What `found` finds, or a test puts in its place."""
    return found()


def found() -> Library:
    """The library that sees a card: CuPy if it does, else PyTorch.

    Raises
    ------
    DependencyError
        If there is none of them.
    DeviceError
        If no library sees a card, with what each said.
    """
    said = []
    for name, library, reason_not in (("cupy", cupy_library, cupy_reason), ("torch", torch_library, torch_reason)):
        try:
            compat = importlib.import_module(f"array_api_compat.{name}")
            reason = reason_not()
            if not reason:
                return library(compat)
        except ImportError as error:
            if (error.name or "").partition(".")[0] in ("array_api_compat", name):
                continue
            # A library that does not find its own parts.
            reason = f"{name} does not find all that it needs ({str(error).splitlines()[0]})"
        said.append(reason)
    if not said:
        raise DependencyError(f"device='cuda' needs array-api-compat and a library for the card: {INSTALL}.")
    raise DeviceError(
        f"device='cuda' needs a card that CUDA knows, and none is found: {'; '.join(said)}. Leave device= out."
    )


def cupy_reason() -> str:
    """Why CuPy has no card to work on; "" if it has."""
    cupy = importlib.import_module("cupy")
    try:
        return "" if cupy.cuda.runtime.getDeviceCount() else f"CuPy {cupy.__version__} sees no card"
    except RuntimeError as error:
        return f"CuPy {cupy.__version__} says {error}"


def torch_reason() -> str:
    """Why PyTorch has no card to work on; "" if it has."""
    torch = importlib.import_module("torch")
    if torch.cuda.is_available():
        return ""
    built = "sees no card" if torch.version.cuda else "is built for processors alone"
    return f"PyTorch {torch.__version__} {built}"
