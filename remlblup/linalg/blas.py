"""BLAS inside numba functions: SciPy's own dgemm, dsyrk and dtrsm, called through their addresses.

The addresses change from process to process, so they are registered under a name with LLVM when this
module is imported, and the compiled functions refer to the name: that is what lets numba cache them.
All arguments are passed as addresses, integers to the compiled code.
"""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
from numba import njit, types
from scipy.linalg import cython_blas

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
_dsyrk = external("dsyrk", 10)
_dtrsm = external("dtrsm", 11)

CHARACTERS = np.frombuffer(b"NTLRU", dtype=np.uint8).copy()
"""The letters BLAS takes: N, T, L, R, U at positions 0 to 4."""


@njit(cache=True, nogil=True)
def gemm_nt(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, letters, ints, reals):
    """C (m, n) ← alpha A (m, k) B (n, k)' + beta C; a, b, c are addresses of column-major blocks."""
    ints[0], ints[1], ints[2], ints[3], ints[4], ints[5] = m, n, k, lda, ldb, ldc
    reals[0], reals[1] = alpha, beta
    i, r, s = ints.ctypes.data, reals.ctypes.data, letters.ctypes.data
    _dgemm(s, s + 1, i, i + 4, i + 8, r, a, i + 12, b, i + 16, r + 8, c, i + 20)


@njit(cache=True, nogil=True)
def gemm_nn(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, letters, ints, reals):
    """C (m, n) ← alpha A (m, k) B (k, n) + beta C."""
    ints[0], ints[1], ints[2], ints[3], ints[4], ints[5] = m, n, k, lda, ldb, ldc
    reals[0], reals[1] = alpha, beta
    i, r, s = ints.ctypes.data, reals.ctypes.data, letters.ctypes.data
    _dgemm(s, s, i, i + 4, i + 8, r, a, i + 12, b, i + 16, r + 8, c, i + 20)


@njit(cache=True, nogil=True)
def gemm_tn(m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, letters, ints, reals):
    """C (m, n) ← alpha A (k, m)' B (k, n) + beta C."""
    ints[0], ints[1], ints[2], ints[3], ints[4], ints[5] = m, n, k, lda, ldb, ldc
    reals[0], reals[1] = alpha, beta
    i, r, s = ints.ctypes.data, reals.ctypes.data, letters.ctypes.data
    _dgemm(s + 1, s, i, i + 4, i + 8, r, a, i + 12, b, i + 16, r + 8, c, i + 20)


@njit(cache=True, nogil=True)
def syrk_lower(n, k, alpha, a, lda, beta, c, ldc, letters, ints, reals):
    """Lower triangle of C (n, n) ← alpha A (n, k) A' + beta C."""
    ints[0], ints[1], ints[2], ints[3] = n, k, lda, ldc
    reals[0], reals[1] = alpha, beta
    i, r, s = ints.ctypes.data, reals.ctypes.data, letters.ctypes.data
    _dsyrk(s + 2, s, i, i + 4, r, a, i + 8, r + 8, c, i + 12)


@njit(cache=True, nogil=True)
def solve_right_lower_transposed(m, n, a, lda, b, ldb, letters, ints, reals):
    """B (m, n) ← B A⁻ᵀ with A (n, n) lower triangular."""
    ints[0], ints[1], ints[2], ints[3] = m, n, lda, ldb
    reals[0] = 1.0
    i, r, s = ints.ctypes.data, reals.ctypes.data, letters.ctypes.data
    _dtrsm(s + 3, s + 2, s + 1, s, i, i + 4, r, a, i + 8, b, i + 12)


@njit(cache=True, nogil=True)
def solve_right_lower(m, n, a, lda, b, ldb, letters, ints, reals):
    """B (m, n) ← B A⁻¹ with A (n, n) lower triangular."""
    ints[0], ints[1], ints[2], ints[3] = m, n, lda, ldb
    reals[0] = 1.0
    i, r, s = ints.ctypes.data, reals.ctypes.data, letters.ctypes.data
    _dtrsm(s + 3, s + 2, s, s, i, i + 4, r, a, i + 8, b, i + 12)
