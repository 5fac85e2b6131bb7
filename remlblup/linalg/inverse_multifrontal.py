"""The selected inverse by the inverse multifrontal recursion: the tree of supernodes from the root down.

Campbell & Davis 1995; Masuda, Baba & Suzuki 2014. The *inverse front* of a supernode holds C⁻¹ over all
rows of its panel; what its children need is gathered from it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from remlblup.linalg.blas import gemm_nn, gemm_tn, solve_right_lower


@njit(cache=True, nogil=True)
def selected_inverse(begin, end, top, leave, pending_at, pending, itself, first, rows_at, panel_at, parent, relative,
                     n_children, front_at, panels, dependent, inverse, arena, block, product, letters):  # fmt: skip
    """Panels of C⁻¹ on the pattern of L, from the root down.

    With Z_bb the inverse over the rows below, gathered from the parent's front, and Y = L_b L_s⁻¹:

        Z_bs = −Z_bb Y,    Z_ss = (L_s L_s')⁻¹ − Y' Z_bs.

    Parameters
    ----------
    begin, end, top, pending_at, pending : as in `factorize`; `pending` holds the Z_bb of the roots of subtrees
    leave : where subtrees end, going down
    itself : 0, 1, 2, …
    inverse : as `panels`, receives the panels of C⁻¹ (diagonal blocks in full)
    arena : workspace for the inverse fronts of supernodes with children, at `front_at`
    block : workspace for one Z_bb
    product : workspace for Y and for L_s⁻¹, the size of the largest panel
    """
    ints, reals = np.empty(8, np.int32), np.empty(2, np.float64)
    base = np.int64(0) if top else front_at[end - 1]
    following = end - 1
    while following >= begin:
        s = following
        following -= 1
        width = first[s + 1] - first[s]
        height = rows_at[s + 1] - rows_at[s]
        below = height - width
        p = parent[s]
        at = relative[rows_at[s] + width : rows_at[s + 1]]
        p_height = rows_at[p + 1] - rows_at[p] if below > 0 else 0
        if not top and s == end - 1:
            at = itself[:below]
            p_height = below
            p_front = pending[pending_at[s] : pending_at[s + 1]]
        else:
            p_front = arena[front_at[p] - base : front_at[p] - base + p_height * p_height] if below > 0 else arena[:0]
        if top and leave[s] > 0:
            gather(p_front, p_height, at, below, pending[pending_at[s] : pending_at[s + 1]], below, 0)
            following = leave[s] - 2
            continue
        panel = panels[panel_at[s] : panel_at[s + 1]]
        out = inverse[panel_at[s] : panel_at[s + 1]]
        if n_children[s] == 0 and width == 1:
            invert_column(panel, below, p_front, p_height, at, out, dependent[first[s]])
            continue
        stride = height if n_children[s] > 0 else below
        own = front_at[s] - base
        front = arena[own : own + height * height] if n_children[s] > 0 else block
        corner = width * (height + 1) if n_children[s] > 0 else 0
        # Z_bb goes where the children will read it, if there are any …
        if n_children[s] > 0 and below > 0 and front_at[s] == front_at[p] and (top or s < end - 1):
            # … by way of `block` where that is the place of the parent's front, read for the last time.
            gather(p_front, p_height, at, below, block, below, 0)
            for j in range(below):
                front[corner + j * stride : corner + j * stride + below] = block[j * below : (j + 1) * below]
        else:
            gather(p_front, p_height, at, below, front, stride, corner)
        invert_panel(panel, height, width, below, front.ctypes.data + 8 * corner, stride, out, product, letters, ints,
                     reals)  # fmt: skip
        for j in range(width):
            if dependent[first[s] + j]:
                clear_inverse(out, height, width, j)
        if n_children[s] > 0:
            for j in range(width):
                for i in range(height):
                    value = out[j * height + i]
                    front[j * height + i] = value
                    front[i * height + j] = value


@njit(cache=True, nogil=True)
def gather(p_front, p_height, at, below, front, stride, corner):
    """The rows and columns `at` of the parent's front as a block of another one."""
    for j in range(below):
        source = p_front[at[j] * p_height : (at[j] + 1) * p_height]
        target = front[corner + j * stride : corner + j * stride + below]
        for i in range(below):
            target[i] = source[at[i]]


@njit(cache=True, nogil=True)
def invert_column(panel, below, p_front, p_height, at, out, dependent):
    """`invert_panel` for a supernode of one column without children: Z_bb is read where it is."""
    if dependent:
        for i in range(below + 1):
            out[i] = 0.0
        return
    pivot = 1.0 / panel[0]
    total = pivot * pivot
    for i in range(below):
        row = p_front[at[i] * p_height : (at[i] + 1) * p_height]
        value = 0.0
        for j in range(below):
            value += row[at[j]] * panel[1 + j]
        out[1 + i] = -value * pivot
        total += panel[1 + i] * pivot * value * pivot
    out[0] = total


@njit(cache=True, nogil=True)
def invert_panel(panel, height, width, below, block, stride, out, product, letters, ints, reals):
    """Z_bs and Z_ss of one supernode (formulas in `selected_inverse`); `block` is the address of Z_bb."""
    a, o = panel.ctypes.data, out.ctypes.data
    if width == 1:
        pivot = 1.0 / panel[0]
        y = product[:below]
        for i in range(below):
            y[i] = panel[1 + i] * pivot
        out[0] = pivot * pivot
        if below > 0:
            gemm_nn(
                below, 1, below, -1.0, block, stride, y.ctypes.data, below, 0.0, o + 8, height, letters, ints, reals
            )
            for i in range(below):
                out[0] -= y[i] * out[1 + i]
        return
    # W = L_s⁻¹ (lower, in a width × width block), then Z_ss = W'W.
    w = product[: width * width]
    w[:] = 0.0
    for j in range(width):
        w[j * width + j] = 1.0
    solve_right_lower(width, width, a, height, w.ctypes.data, width, letters, ints, reals)
    gemm_tn(width, width, width, 1.0, w.ctypes.data, width, w.ctypes.data, width, 0.0, o, height, letters, ints, reals)
    if below == 0:
        return
    y = product[width * width : width * width + below * width]
    for j in range(width):
        for i in range(below):
            y[j * below + i] = panel[j * height + width + i]
    solve_right_lower(below, width, a, height, y.ctypes.data, below, letters, ints, reals)
    gemm_nn(below, width, below, -1.0, block, stride, y.ctypes.data, below, 0.0, o + 8 * width, height, letters, ints,
            reals)  # fmt: skip
    gemm_tn(
        width, width, below, -1.0, y.ctypes.data, below, o + 8 * width, height, 1.0, o, height, letters, ints, reals
    )


@njit(cache=True, nogil=True)
def clear_inverse(out, height, width, j):
    """The rows and columns of a dependent equation are zero in the generalised inverse."""
    for i in range(height):
        out[j * height + i] = 0.0
    for i in range(width):
        out[i * height + j] = 0.0
