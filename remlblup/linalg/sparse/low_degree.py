"""The compiled part of `ordering.eliminate_low_degree`: minimum degree, one node at a time, stopped early.

Nodes of few neighbours, of which pedigrees are full, leave almost no fill; taking them out first makes
the graph that is left for nested dissection several times smaller. Whether two neighbours already meet
is looked up in a hash table of edges, so that nodes of high degree cost no more than others.

Hubs (a sire with thousands of progeny, a herd) are not in the graph: they go last, so that only their numbers among the
neighbours of a node matter. A set of hubs is 64 bits, each hub one of them, and the bits of the union of two sets are
close to its number while that is small.
"""

from __future__ import annotations

import numpy as np

from remlblup.linalg.compiler import njit


@njit(cache=True)
def add_edge(table, a, b, n):
    """Enter an edge; False if it was there."""
    key = np.int64(min(a, b)) * n + max(a, b)
    mask = len(table) - 2
    slot = ((key * np.int64(-7046029254386353131)) >> 20) & mask
    while table[slot] >= 0:
        if table[slot] == key:
            return False
        slot = (slot + 1) & mask
    table[slot] = key
    table[-1] += 1
    return True


@njit(cache=True)
def rehashed(table):
    """The same edges in a table of twice the size."""
    out = np.full(2 * (len(table) - 1) + 1, -1, np.int64)
    mask = len(out) - 2
    for i in range(len(table) - 1):
        key = table[i]
        if key >= 0:
            slot = ((key * np.int64(-7046029254386353131)) >> 20) & mask
            while out[slot] >= 0:
                slot = (slot + 1) & mask
            out[slot] = key
    out[-1] = table[-1]
    return out


@njit(cache=True)
def edge_table(indptr, indices):
    """Open-addressing hash table of the edges a < b as keys a·n + b; its last element counts them."""
    n = len(indptr) - 1
    size = 16
    while size < len(indices) + 16:  # of which every edge has two
        size *= 2
    table = np.full(size + 1, -1, np.int64)
    table[-1] = 0
    for v in range(n):
        for p in range(indptr[v], indptr[v + 1]):
            if indices[p] > v:
                add_edge(table, v, indices[p], n)
    return table


@njit(cache=True)
def grown(array):
    """The array with room for twice as many."""
    out = np.empty(2 * len(array), array.dtype)
    out[: len(array)] = array
    return out


@njit(cache=True)
def enqueue(v, level, first, chain, queued):
    """Put a node first among those of its level."""
    chain[v], first[level], queued[v] = first[level], v, level


@njit(cache=True)
def remaining_edges(indptr, indices, head, link, gained, gone, kept, number):
    """The graph between nodes that are left, neighbours ascending."""
    out = np.zeros(len(kept) + 1, np.int64)
    for pass_ in range(2):
        if pass_ == 1:
            left = np.empty(out[-1], np.int32)
        total = 0
        for i in range(len(kept)):
            v = kept[i]
            for p in range(indptr[v], indptr[v + 1]):
                if not gone[indices[p]]:
                    if pass_ == 1:
                        left[total] = number[indices[p]]
                    total += 1
            at = head[v]
            while at >= 0:
                if not gone[gained[at]]:
                    if pass_ == 1:
                        left[total] = number[gained[at]]
                    total += 1
                at = link[at]
            if pass_ == 0:
                out[i + 1] = total
            elif head[v] >= 0:
                left[out[i] : total].sort()
    return out, left


@njit("uint64[::1](int64[::1], int32[::1], int64[::1], int64[::1])", cache=True)
def hubs_beside(indptr, indices, nodes, hubs):
    """The set of hubs among the neighbours of some nodes."""
    bit = np.zeros(len(indptr) - 1, np.uint64)
    for k in range(len(hubs)):
        bit[hubs[k]] = np.uint64(1) << np.uint64(k % 64)
    beside = np.zeros(len(nodes), np.uint64)
    for i in range(len(nodes)):
        for p in range(indptr[nodes[i]], indptr[nodes[i] + 1]):
            beside[i] |= bit[indices[p]]
    return beside


@njit(cache=True)
def number_of_bits(x):
    """Of a word of 64, counted in pairs, fours and bytes."""
    x -= (x >> np.uint64(1)) & np.uint64(0x5555555555555555)
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int32((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit("Tuple((int32[::1], int32[::1], int64[::1], int32[::1]))(int64[::1], int32[::1], int64, uint64[::1])", cache=True)
def eliminate_low_degree(indptr, indices, limit, hubs):
    """Eliminate nodes of degree <= limit, smallest degree first, that of hubs counted in; the fill is added.

    It ends early where the fill would be more than 32-bit numbers count.

    Parameters
    ----------
    indptr, indices : symmetric graph without a diagonal
    limit : largest degree without hubs to eliminate, at most 16
    hubs : (n,) the set of hubs beside each node, overwritten

    Returns
    -------
    order : eliminated nodes
    kept : nodes that remain
    indptr, indices : graph between these, numbered by their places in `kept`, neighbours ascending
    """
    n = len(indptr) - 1
    degree = np.empty(n, np.int32)
    for v in range(n):
        degree[v] = indptr[v + 1] - indptr[v]
    table = edge_table(indptr, indices)
    # Neighbours gained by fill: chained blocks behind the given lists.
    head = np.full(n, -1, np.int32)
    link = np.empty(max(16, len(indices) // 2), np.int32)
    gained = np.empty_like(link)
    n_gained = 0
    gone = np.zeros(n, np.bool_)
    highest, lowest = limit + 64, np.int64(0)
    first, chain = np.full(highest + 1, -1, np.int32), np.full(n, -1, np.int32)
    queued = np.full(n, -1, np.int32)
    for v in range(n - 1, -1, -1):
        if degree[v] <= limit:
            enqueue(v, degree[v] + number_of_bits(hubs[v]), first, chain, queued)
    order = np.empty(n, np.int32)
    count = 0
    near = np.empty(limit + 1, np.int32)
    while True:
        while lowest <= highest and first[lowest] < 0:
            lowest += 1
        if lowest > highest or n_gained > 2**31 - 1 - limit * limit:
            break
        v = first[lowest]
        first[lowest] = chain[v]
        level = degree[v] + number_of_bits(hubs[v])
        if level != lowest or degree[v] > limit:  # changed since it was queued
            queued[v] = -1
            if degree[v] <= limit:
                enqueue(v, level, first, chain, queued)
                lowest = min(lowest, level)
            continue
        k = 0
        for p in range(indptr[v], indptr[v + 1]):
            if not gone[indices[p]]:
                near[k] = indices[p]
                k += 1
        at = head[v]
        while at >= 0:
            if not gone[gained[at]]:
                near[k] = gained[at]
                k += 1
            at = link[at]
        gone[v] = True
        order[count] = v
        count += 1
        for i in range(k):
            degree[near[i]] -= 1
            hubs[near[i]] |= hubs[v]
        for i in range(k):
            for j in range(i):
                a, b = near[i], near[j]
                if add_edge(table, a, b, n):
                    if n_gained + 2 > len(link):
                        link = grown(link)
                        gained = grown(gained)
                    gained[n_gained], link[n_gained], head[a] = b, head[a], n_gained
                    gained[n_gained + 1], link[n_gained + 1], head[b] = a, head[b], n_gained + 1
                    n_gained += 2
                    degree[a] += 1
                    degree[b] += 1
                    if table[-1] * 2 > len(table):
                        table = rehashed(table)
        for i in range(k):
            a = near[i]
            if degree[a] <= limit and queued[a] < 0:
                level = degree[a] + number_of_bits(hubs[a])
                enqueue(a, level, first, chain, queued)
                lowest = min(lowest, level)
    kept = np.flatnonzero(~gone).astype(np.int32)
    number = np.full(n, -1, np.int32)
    for i in range(len(kept)):
        number[kept[i]] = i
    core = remaining_edges(indptr, indices, head, link, gained, gone, kept, number)
    return order[:count].copy(), kept, core[0], core[1]
