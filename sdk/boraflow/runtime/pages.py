"""Memory that is quick to fork: few large pages instead of thousands of small ones.

A fork copies an entry for each page of memory, and the end of the child takes each back: 130 ns a page, 0.6 ms for
the 18 MB of a zygote, which is more than a short task runs (decision record 19). Where the kernel keeps the same
memory in pages of 2 MB, it goes through runs of entries at a time. Nothing depends on it: where the kernel has no
such pages, forks take longer.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

_LARGE = 2 << 20
_ARENA_BITS = 20
_MADV_COLLAPSE = 25
_M_TOP_PAD = -2
_ARENAS = 10
"""Of 1 MB each: what a zygote's own imports fill."""
_kept: list[bytes] = []


def reserve() -> None:
    """Have the objects that come next lie in as few ranges of memory as can be."""
    if sys.platform != "linux":
        return
    # The C library then asks for its memory in large pieces, which the kernel joins.
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_TOP_PAD, 8 << 20)
    # Arenas asked for in a row lie in a row; Python returns none in which an object is left.
    # Nearly the largest size that comes from an arena's pools, so that few fill one.
    blocks = [bytes(460) for _ in range(_ARENAS * 2048)]
    _kept.extend({id(block) >> _ARENA_BITS: block for block in blocks}.values())


def collapse() -> None:
    """Put this process's own memory into large pages, as far as it lies in whole ones."""
    if sys.platform != "linux":
        return
    try:
        madvise = ctypes.CDLL(None).madvise
        with open("/proc/self/maps", "rb") as file:  # noqa: PTH123  a fast path
            lines = file.read().splitlines()
    except (OSError, AttributeError):
        return
    for line in lines:
        bounds, rights, _, _, inode, *_ = line.split()
        if inode != b"0" or not rights.startswith(b"rw"):
            continue
        start, end = (int(x, 16) for x in bounds.split(b"-"))
        first, last = -(-start // _LARGE) * _LARGE, end // _LARGE * _LARGE
        for at in range(first, last, _LARGE):
            madvise(ctypes.c_void_p(at), ctypes.c_size_t(_LARGE), _MADV_COLLAPSE)
