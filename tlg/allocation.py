"""Where this process gets its memory from: a setting for whoever owns the process, as a worker's start does.

Every pass of a network, and every picture that is decoded, allocates and frees several megabytes. By default the C
library asks the system for each of them and gives it back at once, and the system fills every page with zeros again: a
third of the time of a backbone's pass.
"""

from __future__ import annotations

import ctypes
import platform

# glibc's names of what is set, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -3, -4, -8
# Blocks from here on are the system's own, one by one.
LARGE_BYTES = 1 << 17
# What a network's passes need.
KEPT_BYTES = 1 << 30


def keep_freed_memory(kept_bytes: int = KEPT_BYTES) -> None:
    """From here on large blocks that were freed are used again, in all threads of this process.

    Freed memory stays with the process up to `kept_bytes`.

    Only glibc's own allocator knows these settings; others, which keep memory anyway, are left as they are.
    """
    # The heaps of further threads are too small for large maps.
    _set({M_MMAP_MAX: 0, M_TRIM_THRESHOLD: kept_bytes, M_ARENA_MAX: 1})


def give_freed_memory_back() -> None:
    """From here on large blocks that were freed are the system's again, until `keep_freed_memory`.

    For the loading of exemplars, which keeps a little of much: between what is kept, freed memory would lie useless.
    """
    _set({M_MMAP_THRESHOLD: LARGE_BYTES})


def _set(settings: dict[int, int]) -> None:
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for setting, value in settings.items():
        mallopt(setting, value)
