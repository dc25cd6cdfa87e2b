"""Where this process gets its memory from: a setting for whoever owns the process, as a worker's start does.

Every pass of a network, and every picture that is decoded, allocates and frees several megabytes. By default the C
library asks the system for each of them and gives it back at once, and the system fills every page with zeros again: a
third of the time of a backbone's pass.
"""

from __future__ import annotations

import ctypes
import platform

# glibc's names of what is set, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
# What a network's passes need.
KEPT_BYTES = 1 << 30


def keep_freed_memory(kept_bytes: int = KEPT_BYTES) -> None:
    """From here on large blocks that were freed are used again, in all threads of this process.

    Freed memory stays with the process up to `kept_bytes`.

    Only glibc's own allocator knows these settings; others, which keep memory anyway, are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, kept_bytes)
    # The heaps of further threads are too small for large maps.
    mallopt(M_ARENA_MAX, 1)
