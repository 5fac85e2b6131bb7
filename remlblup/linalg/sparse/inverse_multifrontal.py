"""The selected inverse by the inverse multifrontal recursion: the tree of supernodes from the root down.

Campbell & Davis 1995; Masuda, Baba & Suzuki 2014. The *inverse front* of a supernode holds the lower triangle of
C⁻¹ over all rows of its panel; what its children need is gathered from it.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import kernel
from remlblup.linalg.sparse.blas import gemm_nn, gemm_tn, load, solve_right_lower, store, symm_lower, symv_lower

BLOCK = 64
"""Columns of a front inverted at a time."""

SOLVED = 32
"""Columns divided by a triangle at a time."""

NARROW, SHORT = 4, 24
"""So few columns do without level-3 BLAS, but for the product with Z_RR of fewer rows than SHORT."""

FEW = 12
"""So few rows below a NARROW front do without BLAS: a call takes as long as some hundred operations."""


@kernel
def selected_inverse(begin, end, top, sn, plan, pending, panels, dependent, entries, values, arena, block, product):
    """Entries of C⁻¹, from the root down; of its panels none is kept longer than its children read it.

    Parameters
    ----------
    begin, end, top, sn, plan, pending : as in `multifrontal.factorize`; `pending` holds the inverse over the rows
        below the roots of subtrees
    entries : Entries
    values : receives C⁻¹ there
    arena : workspace for the inverse fronts of supernodes with children
    block : workspace for one front
    product : workspace for `invert_front`
    """
    root = -1 if top else end - 1
    s = end - 1
    while s >= begin:
        height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
        if top and plan.leave[s] > 0:
            if sn.parent[s] != len(sn.parent) - 1:
                target = pending.ctypes.data + 8 * plan.pending_at[s]
                gather_below(s, root, sn, plan, pending, arena, target, height - width)
            s = plan.leave[s] - 2
            continue
        panel = panels[sn.panel_at[s] : sn.panel_at[s + 1]]
        if is_twig(s, sn, dependent) and s != root:
            p_front = inverse_front(sn.parent[s], root, sn, plan, pending, arena, block)
            invert_twig(s, panel, p_front, sn, block[: width * height])
            take_entries(s, block.ctypes.data, entries, values)
        elif width > 0 or s != root or (sn.parent[s] == len(sn.parent) - 1 and not has_all_rows(s, sn)):
            front = inverse_front(s, root, sn, plan, pending, arena, block)
            gather_front(s, root, sn, plan, pending, arena, block, front)
            invert_front(panel, height, width, front, dependent[sn.first[s] : sn.first[s + 1]], product)
            take_entries(s, front, entries, values)
        s -= 1


@kernel
def inverse_front(s, root, sn, plan, pending, arena, block):
    """Address of the inverse front of s."""
    if sn.n_children[s] == 0:
        return block.ctypes.data
    last = len(sn.parent) - 1
    if s == root and sn.first[s] == sn.first[s + 1]:  # of a batch it is pending, or that of the last supernode
        return pending.ctypes.data + 8 * plan.pending_at[last if has_all_rows(s, sn) else s]
    if s == last and plan.pending_at[s + 1] > plan.pending_at[s]:
        return pending.ctypes.data + 8 * plan.pending_at[s]
    return arena.ctypes.data + 8 * plan.front_at[s]


@kernel
def has_all_rows(s, sn):
    """Whether a batch has the rows of the last supernode, from which it hangs."""
    last = len(sn.parent) - 1
    return sn.parent[s] == last and sn.rows_at[s + 1] - sn.rows_at[s] == sn.rows_at[last + 1] - sn.rows_at[last]


@kernel
def gather_front(s, root, sn, plan, pending, arena, block, front):
    """The inverse over the rows below s, into its front."""
    height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
    below, corner = height - width, front + 8 * width * (height + 1)
    inner = sn.n_children[s] > 0 and s != root and below > 0
    if inner and inverse_front(sn.parent[s], root, sn, plan, pending, arena, block) == front:
        # The parent's front stands in the same place, and is read for the last time.
        gather_below(s, root, sn, plan, pending, arena, block.ctypes.data, below)
        copy_triangle(block.ctypes.data, below, corner, height)
    else:
        gather_below(s, root, sn, plan, pending, arena, corner, height)


@kernel
def gather_below(s, root, sn, plan, pending, arena, target, stride):
    """The inverse over the rows below s, from its parent's front; for the root of a subtree, from `pending`,
    unless it hangs from the last supernode, whose front stays."""
    rows = sn.relative[sn.rows_at[s] + sn.first[s + 1] - sn.first[s] : sn.rows_at[s + 1]]
    if s == root and sn.parent[s] != len(sn.parent) - 1:
        copy_triangle(pending.ctypes.data + 8 * plan.pending_at[s], len(rows), target, stride)
    elif len(rows) > 0:
        p = sn.parent[s]
        p_front = inverse_front(p, root, sn, plan, pending, arena, arena)
        for j in range(len(rows)):
            source = p_front + 8 * rows[j] * (sn.rows_at[p + 1] - sn.rows_at[p])
            for i in range(j, len(rows)):
                store(target, j * stride + i, load(source, rows[i]))


@kernel
def copy_triangle(source, size, target, stride):
    """A lower triangle (size × size) into one whose columns are `stride` apart."""
    for j in range(size):
        for i in range(j, size):
            store(target, j * stride + i, load(source, j * size + i))


@kernel
def take_entries(s, front, entries, values):
    """The entries of C⁻¹ that stand in the columns of s, from its inverse front."""
    for k in range(entries.starts[s], entries.starts[s + 1]):
        values[entries.order[k]] = load(front, entries.places[k])


@kernel
def invert_front(panel, height, width, front, dependent, product):
    """The columns of a panel in its inverse front (an address), by blocks from the last;
    the rows below are there already.

    With K the columns of a block, R all rows after it, and Y = L_RK L_KK⁻¹:

        Z_RK = −Z_RR Y,    Z_KK = (L_KK L_KK')⁻¹ − Y' Z_RK.
    """
    for start in range((width - 1) // BLOCK * BLOCK, -1, -BLOCK):
        stop = min(start + BLOCK, width)
        if stop < height:
            scale_rows(panel, height, start, stop, stop, height, product)
            multiply_rows(front, height, start, stop, stop, height, product)
        invert_diagonal(panel, height, start, stop, front, dependent, product)


@kernel
def scale_rows(panel, height, start, stop, row, last_row, product):
    """Rows row … last_row of Y."""
    rest, size = height - stop, stop - start
    for j in range(size):
        for i in range(row, last_row):
            product[j * rest + i - stop] = panel[(start + j) * height + i]
    if size > NARROW:
        corner = panel.ctypes.data + 8 * (start * height + start)
        divide_columns(last_row - row, size, corner, height, product.ctypes.data + 8 * (row - stop), rest)
        return
    for j in range(size - 1, -1, -1):
        own = product[j * rest + row - stop : j * rest + last_row - stop]
        column = panel[(start + j) * height + start : (start + j) * height + stop]
        for k in range(j + 1, size):
            factor, other = column[k], product[k * rest + row - stop : k * rest + last_row - stop]
            for i in range(len(own)):
                own[i] -= factor * other[i]
        factor = 1.0 / column[j]
        for i in range(len(own)):
            own[i] *= factor


@kernel
def divide_columns(m, n, a, lda, b, ldb):
    """B (m, n) ← B A⁻¹ with A (n, n) lower triangular, some columns at a time (see `panels.divide_rows`)."""
    for first in range((n - 1) // SOLVED * SOLVED, -1, -SOLVED):
        last = min(first + SOLVED, n)
        solve_right_lower(m, last - first, a + 8 * (first * lda + first), lda, b + 8 * first * ldb, ldb)
        if first > 0:
            gemm_nn(m, first, last - first, -1.0, b + 8 * first * ldb, ldb, a + 8 * first, lda, 1.0, b, ldb)


@kernel
def multiply_rows(front, height, start, stop, row, last_row, product):
    """Rows row … last_row of Z_RK = −Z_RR Y; of Z_RR the lower triangle is read."""
    z, y, rest = front, product.ctypes.data, height - stop
    size, rows = stop - start, last_row - row
    target, corner = z + 8 * (start * height + row), z + 8 * (row * height + row)
    if rows == rest and size <= NARROW and rest <= FEW:
        multiply_few(rest, size, corner, height, y, target)
        return
    if rows == rest and size <= NARROW and rest >= SHORT:
        for j in range(size):
            symv_lower(rest, -1.0, corner, height, y + 8 * j * rest, 0.0, target + 8 * j * height)
        return
    symm_lower(rows, size, -1.0, corner, height, y + 8 * (row - stop), rest, 0.0, target, height)
    if row > stop:
        gemm_nn(rows, size, row - stop, -1.0, z + 8 * (stop * height + row), height, y, rest, 1.0, target, height)
    if last_row < height:
        gemm_tn(rows, size, height - last_row, -1.0, z + 8 * (row * height + last_row), height,
                y + 8 * (last_row - stop), rest, 1.0, target, height)  # fmt: skip


@kernel
def multiply_few(rest, size, corner, height, y, target):
    """`multiply_rows` for few rows and columns."""
    for j in range(size):
        own, out = y + 8 * j * rest, target + 8 * j * height
        for i in range(rest):
            store(out, i, 0.0)
        for k in range(rest):
            factor, total = load(own, k), load(corner, k * height + k) * load(own, k)
            for i in range(k + 1, rest):
                z = load(corner, k * height + i)
                store(out, i, load(out, i) - z * factor)
                total += z * load(own, i)
            store(out, k, load(out, k) - total)


@kernel
def invert_diagonal(panel, height, start, stop, front, dependent, product):
    """Z_KK, when Z_RK is there."""
    invert_corner(panel, height, start, stop, front, product)
    if stop < height:
        complete_corner(front, height, start, stop, start, stop, product)
    clear_dependent(front, height, start, stop, dependent)


@kernel
def invert_corner(panel, height, start, stop, front, product):
    """(L_KK L_KK')⁻¹ in the place of Z_KK."""
    size, rest = stop - start, height - stop
    corner = 8 * (start * height + start)
    z = front + corner
    w = product[rest * size : rest * size + size * size]  # L_KK⁻¹
    for j in range(size):
        for i in range(size):
            w[j * size + i] = 1.0 if i == j else 0.0
    if size <= NARROW:
        invert_triangle(panel, height, start, stop, w)
        for j in range(size):
            for i in range(j, size):
                total = 0.0
                for k in range(i, size):
                    total += w[i * size + k] * w[j * size + k]
                store(z, j * height + i, total)
    else:
        divide_columns(size, size, panel.ctypes.data + corner, height, w.ctypes.data, size)
        gemm_tn(size, size, size, 1.0, w.ctypes.data, size, w.ctypes.data, size, 0.0, z, height)


@kernel
def complete_corner(front, height, start, stop, left, right, product):
    """Columns left … right of Z_KK less Y' Z_RK, from the diagonal down."""
    rest = height - stop
    y, z = product.ctypes.data + 8 * rest * (left - start), front + 8 * (left * height + stop)
    if stop - left <= NARROW and rest <= FEW:
        for j in range(right - left):
            for i in range(j, stop - left):
                total, at = 0.0, (left + j) * height + left + i
                for k in range(rest):
                    total += load(y, i * rest + k) * load(z, j * height + k)
                store(front, at, load(front, at) - total)
        return
    gemm_tn(stop - left, right - left, rest, -1.0, y, rest, z, height, 1.0, front + 8 * (left * height + left), height)


@kernel
def clear_dependent(front, height, start, stop, dependent):
    """The rows and columns of dependent equations are zero in the generalised inverse."""
    for j in range(start, stop):
        if dependent[j]:
            for i in range(j, height):
                store(front, j * height + i, 0.0)
            for k in range(start, j):
                store(front, k * height + j, 0.0)


@kernel
def invert_triangle(panel, height, start, stop, w):
    """The identity matrix W ← L_KK⁻¹ W, for few columns."""
    size = stop - start
    for j in range(size):
        for i in range(j, size):
            for k in range(j, i):
                w[j * size + i] -= panel[(start + k) * height + start + i] * w[j * size + k]
            w[j * size + i] /= panel[(start + i) * height + start + i]


@kernel
def is_twig(s, sn, dependent):
    """Whether a supernode of few columns has rows below, no children, and no dependent equation."""
    width = sn.first[s + 1] - sn.first[s]
    if width == 0 or width > NARROW or sn.n_children[s] > 0 or sn.rows_at[s + 1] - sn.rows_at[s] == width:
        return False
    return not np.any(dependent[sn.first[s] : sn.first[s + 1]])


@kernel
def invert_twig(s, panel, p_front, sn, out):
    """`gather_front` and `invert_front` in one, column by column, for a supernode of few columns without children."""
    p = sn.parent[s]
    height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
    rows = sn.relative[sn.rows_at[s] + width : sn.rows_at[s + 1]]
    for c in range(width - 1, -1, -1):
        own, factor = out[c * height : (c + 1) * height], panel[c * height : (c + 1) * height]
        pivot = 1.0 / factor[c]
        for i in range(c, height):
            own[i] = 0.0
        for j in range(len(rows)):
            source = p_front + 8 * rows[j] * (sn.rows_at[p + 1] - sn.rows_at[p])
            y, total = factor[width + j] * pivot, 0.0
            for i in range(j + 1, len(rows)):
                z = load(source, rows[i])
                own[width + i] -= z * y
                total += z * factor[width + i]
            own[width + j] -= total * pivot + load(source, rows[j]) * y
        for k in range(c + 1, width):
            after = out[k * height : (k + 1) * height]
            y, total = factor[k] * pivot, 0.0
            for i in range(k + 1, height):
                own[i] -= after[i] * y
                total += after[i] * factor[i]
            own[k] -= total * pivot + after[k] * y
        own[c] = pivot * pivot
        for i in range(c + 1, height):
            own[c] -= factor[i] * pivot * own[i]
