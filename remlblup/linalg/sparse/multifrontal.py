"""Supernodal multifrontal Cholesky.

Duff & Reid 1983; Liu 1992. Supernodes come in postorder. The *front* of supernode s has
the rows of its panel; its columns are eliminated, and the *update matrix* U = −L_b L_b' over the rows
below is added into the parent (*extend-add*) as soon as it is complete, so that only the update
matrices of one path of the tree are open at a time. Of update matrices the lower triangles count.
"""

from __future__ import annotations

from remlblup.linalg.compiler import kernel
from remlblup.linalg.sparse.blas import gemm_nt, load, store, syrk_lower
from remlblup.linalg.sparse.panels import factorize_panel

SMALL = 2000
"""Work below which a supernode without children is subtracted from its parent by plain loops."""


@kernel
def factorize(begin, end, top, sn, plan, pending, panels, reference, dependent, tolerance, opened, arena, work):
    """Overwrite the panels of C by those of L; returns the column where a pivot is negative, or -1.

    Parameters
    ----------
    begin, end, top : the supernodes of one subtree, whose root leaves its update matrix in `pending`; or a run of
        all of them with `top` set, when those inside subtrees are passed over (see `linalg.schedule`)
    sn, plan : Supernodes and Plan
    panels : values of C scattered onto the panels
    reference : (n,) magnitude of the diagonal of C; a pivot within `tolerance` of it
        is zero and its equation `dependent`
    opened : (s,) whether the update matrix of a supernode has been set to zero
    arena : workspace for the update matrices that are open
    work : workspace for one update matrix
    """
    root = -1 if top else end - 1
    s = begin
    while s < end:
        if top and plan.enter[s] > 0:
            s = plan.enter[s]
            if sn.parent[s - 1] != len(sn.parent) - 1:  # the last has been added to
                update = pending.ctypes.data + 8 * plan.pending_at[s - 1]
                extend_add(s - 1, update, root, sn, plan, pending, panels, opened, arena)
            continue
        height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
        below = height - width
        panel = panels[sn.panel_at[s] : sn.panel_at[s + 1]]
        failed = factorize_panel(panel, height, width, reference, dependent, sn.first[s], tolerance)
        if failed >= 0:
            return failed
        if sn.n_children[s] > 0 or s == root:
            update = open_update_matrix(s, root, sn, plan, pending, opened, arena)
            form_update_matrix(panel, height, width, update, 1.0)
            if s != root:
                update = move_update(s, update, sn, opened, work)
                extend_add(s, update, root, sn, plan, pending, panels, opened, arena)
        elif below * below * width < SMALL:
            extend_add_twig(s, root, sn, plan, pending, panels, opened, arena)
        else:
            update = work.ctypes.data
            form_update_matrix(panel, height, width, update, 0.0)
            extend_add(s, update, root, sn, plan, pending, panels, opened, arena)
        s += 1
    return -1


@kernel
def open_update_matrix(s, root, sn, plan, pending, opened, arena):
    """Address of the update matrix of s, set to zero when asked for the first time."""
    below = sn.rows_at[s + 1] - sn.rows_at[s] - (sn.first[s + 1] - sn.first[s])
    update = arena.ctypes.data + 8 * plan.update_at[s]
    if s == root:
        update = pending.ctypes.data + 8 * plan.pending_at[s]
    if not opened[s]:
        opened[s] = True
        for j in range(below):
            for i in range(j, below):
                store(update, j * below + i, 0.0)
    return update


@kernel
def move_update(s, update, sn, opened, work):
    """The update matrix of s, out of the way of its parent's, which would open in the same place."""
    p = sn.parent[s]
    if p < 0 or opened[p]:
        return update
    below = sn.rows_at[s + 1] - sn.rows_at[s] - (sn.first[s + 1] - sn.first[s])
    for j in range(below):
        for i in range(j * below + j, (j + 1) * below):
            work[i] = load(update, i)
    return work.ctypes.data


@kernel
def form_update_matrix(panel, height, width, update, keep):
    """U ← keep U − L_b L_b', the lower triangle."""
    below = height - width
    if width > 0 and below > 0:
        syrk_lower(below, width, -1.0, panel.ctypes.data + 8 * width, height, keep, update, below)


@kernel
def form_update_columns(panel, height, width, update, keep, left, right):
    """The columns left … right of `form_update_matrix`."""
    address, below = panel.ctypes.data + 8 * width, height - width
    gemm_nt(below - left, right - left, width, -1.0, address + 8 * left, height, address + 8 * left, height, keep,
            update + 8 * (left * below + left), below)  # fmt: skip


@kernel
def extend_add(s, update, root, sn, plan, pending, panels, opened, arena):
    """Extend-add: the lower triangle of the update matrix of s into the front of its parent."""
    p = sn.parent[s]
    if p < 0:
        return
    p_update = open_update_matrix(p, root, sn, plan, pending, opened, arena)
    below = sn.rows_at[s + 1] - sn.rows_at[s] - (sn.first[s + 1] - sn.first[s])
    add_columns(s, update, 0, below, sn, panels, p_update)


@kernel
def add_columns(s, update, left, right, sn, panels, p_update):
    """The columns left … right of `extend_add`, with the parent's update matrix open at p_update."""
    p = sn.parent[s]
    rows = sn.relative[sn.rows_at[s] + sn.first[s + 1] - sn.first[s] : sn.rows_at[s + 1]]
    below = len(rows)
    for j in range(left, right):
        target = front_column(p, rows[j], sn, panels, p_update)
        for i in range(j, below):
            at = rows[i]
            store(target, at, load(target, at) + load(update, j * below + i))


@kernel
def front_column(s, column, sn, panels, update):
    """Address of a column of the front of s: of the panel, or of the update matrix as if it had all rows."""
    height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
    if column < width:
        return panels.ctypes.data + 8 * (sn.panel_at[s] + column * height)
    return update + 8 * ((column - width) * (height - width) - width)


@kernel
def extend_add_twig(s, root, sn, plan, pending, panels, opened, arena):
    """`form_update_matrix` and `extend_add` in one, for a small supernode without children."""
    height, width = sn.rows_at[s + 1] - sn.rows_at[s], sn.first[s + 1] - sn.first[s]
    if height == width:
        return
    p = sn.parent[s]
    p_update = open_update_matrix(p, root, sn, plan, pending, opened, arena)
    rows = sn.relative[sn.rows_at[s] + width : sn.rows_at[s + 1]]
    for k in range(width):
        own = panels.ctypes.data + 8 * (sn.panel_at[s] + k * height + width)
        for j in range(len(rows)):
            target, factor = front_column(p, rows[j], sn, panels, p_update), load(own, j)
            for i in range(j, len(rows)):
                at = rows[i]
                store(target, at, load(target, at) - factor * load(own, i))
