"""BLAS inside numba functions: SciPy's own dgemm, dsymm, dsyrk and dtrsm, called through their addresses.

The addresses change from process to process, so they are registered under a name with LLVM when this
module is imported, and the compiled functions refer to the name: that is what lets numba cache them.
Matrices are column-major and passed as addresses, integers to the compiled code.
"""

from __future__ import annotations

import ctypes
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from scipy.linalg import cython_blas

from remlblup.linalg.compiler import cgutils, extending, kernel, types

intrinsic: Any = extending.intrinsic  # annotated as if its functions kept the typing context

_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype, _capsule_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def external(name: str, n_arguments: int) -> types.ExternalFunction:
    """A BLAS routine that numba code can call with addresses."""
    capsule = cython_blas.__pyx_capi__[name]
    symbol = f"remlblup_{name}"
    llvm.add_symbol(symbol, _capsule_pointer(capsule, _capsule_name(capsule)))
    return types.ExternalFunction(symbol, types.void(*[types.intp] * n_arguments))


_dgemm = external("dgemm", 13)
_dsymm = external("dsymm", 12)
_dsymv = external("dsymv", 10)
_dsyrk = external("dsyrk", 10)
_dtrsm = external("dtrsm", 11)
_dtrsv = external("dtrsv", 8)


N, T, L, R, U = (np.uint8(ord(letter)) for letter in "NTLRU")


@intrinsic
def by_reference(typing_context: Any, value: Any) -> Any:
    """Address of a copy of a number on the stack, as Fortran takes its arguments.

    A whole number becomes a 32-bit integer, a letter (uint8) stays what it is.
    """
    stored = types.unliteral(value)
    if isinstance(stored, types.Integer) and stored != types.uint8:
        stored = types.int32

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = context.cast(builder, arguments[0], signature.args[0], stored)
        return builder.ptrtoint(cgutils.alloca_once_value(builder, number), context.get_value_type(types.intp))

    return types.intp(value), build


@intrinsic
def load(typing_context: Any, address: Any, index: Any) -> Any:
    """Element of an array at an address. Unlike an array's own index it is not checked for being negative."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_element(context, builder, signature, arguments))

    return types.float64(types.intp, index), build


@intrinsic
def store(typing_context: Any, address: Any, index: Any, value: Any) -> Any:
    """Set the element of an array at an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _element(context, builder, signature, arguments))
        return context.get_dummy_value()

    return types.void(types.intp, index, types.float64), build


def _element(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    pointer = builder.inttoptr(arguments[0], context.get_value_type(types.float64).as_pointer())
    return builder.gep(pointer, [context.cast(builder, arguments[1], signature.args[1], types.intp)])


@kernel
def gemm_nt(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """C (m, n) ← alpha A (m, k) B (n, k)' + beta C."""
    _dgemm(by_reference(N), by_reference(T), by_reference(m), by_reference(n), by_reference(k), by_reference(alpha),
           a, by_reference(lda), b, by_reference(ldb), by_reference(beta), c, by_reference(ldc))  # fmt: skip


@kernel
def gemm_nn(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """C (m, n) ← alpha A (m, k) B (k, n) + beta C."""
    _dgemm(by_reference(N), by_reference(N), by_reference(m), by_reference(n), by_reference(k), by_reference(alpha),
           a, by_reference(lda), b, by_reference(ldb), by_reference(beta), c, by_reference(ldc))  # fmt: skip


@kernel
def gemm_tn(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc):
    """C (m, n) ← alpha A (k, m)' B (k, n) + beta C."""
    _dgemm(by_reference(T), by_reference(N), by_reference(m), by_reference(n), by_reference(k), by_reference(alpha),
           a, by_reference(lda), b, by_reference(ldb), by_reference(beta), c, by_reference(ldc))  # fmt: skip


@kernel
def symm_lower(m, n, alpha, a, lda, b, ldb, beta, c, ldc):
    """C (m, n) ← alpha A B (m, n) + beta C with A (m, m) symmetric, of which the lower triangle is read."""
    _dsymm(by_reference(L), by_reference(L), by_reference(m), by_reference(n), by_reference(alpha),
           a, by_reference(lda), b, by_reference(ldb), by_reference(beta), c, by_reference(ldc))  # fmt: skip


@kernel
def symv_lower(n, alpha, a, lda, x, beta, y):
    """y (n,) ← alpha A x + beta y with A (n, n) symmetric, of which the lower triangle is read."""
    _dsymv(by_reference(L), by_reference(n), by_reference(alpha), a, by_reference(lda), x, by_reference(1),
           by_reference(beta), y, by_reference(1))  # fmt: skip


@kernel
def solve_lower(n, a, lda, x, step):
    """x (n,), its elements so many apart, ← A⁻¹ x with A (n, n) lower triangular."""
    _dtrsv(by_reference(L), by_reference(N), by_reference(N), by_reference(n), a, by_reference(lda), x,
           by_reference(step))  # fmt: skip


@kernel
def solve_lower_transposed(n, a, lda, x, step):
    """x ← A⁻ᵀ x, as `solve_lower`."""
    _dtrsv(by_reference(L), by_reference(T), by_reference(N), by_reference(n), a, by_reference(lda), x,
           by_reference(step))  # fmt: skip


@kernel
def syrk_lower(n, k, alpha, a, lda, beta, c, ldc):
    """Lower triangle of C (n, n) ← alpha A (n, k) A' + beta C."""
    _dsyrk(by_reference(L), by_reference(N), by_reference(n), by_reference(k), by_reference(alpha),
           a, by_reference(lda), by_reference(beta), c, by_reference(ldc))  # fmt: skip


@kernel
def solve_right_lower_transposed(m, n, a, lda, b, ldb):
    """B (m, n) ← B A⁻ᵀ with A (n, n) lower triangular."""
    _dtrsm(by_reference(R), by_reference(L), by_reference(T), by_reference(N), by_reference(m), by_reference(n),
           by_reference(1.0), a, by_reference(lda), b, by_reference(ldb))  # fmt: skip


@kernel
def solve_right_lower(m, n, a, lda, b, ldb):
    """B (m, n) ← B A⁻¹ with A (n, n) lower triangular."""
    _dtrsm(by_reference(R), by_reference(L), by_reference(N), by_reference(N), by_reference(m), by_reference(n),
           by_reference(1.0), a, by_reference(lda), b, by_reference(ldb))  # fmt: skip
