"""Large blocks that were freed are used again."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

ROUNDS, BLOCK_MB = 20, 64
PAGES_OF_ONE_BLOCK = BLOCK_MB * 256

# In a process of its own: the setting cannot be taken back, and other tests' memory must not count.
PROGRAM = f"""
import resource, sys, threading
from tlg.network.backbones.allocation import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    b'.' * ({BLOCK_MB} << 20)
    before = faults()
    for _ in range({ROUNDS}):
        b'.' * ({BLOCK_MB} << 20)
    print(faults() - before)

if sys.argv[1] == "kept":
    keep_freed_memory()
work()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


def page_faults(how: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_blocks_are_used_again_in_every_thread() -> None:
    assert max(page_faults("kept")) < PAGES_OF_ONE_BLOCK
    assert min(page_faults("default")) > ROUNDS * PAGES_OF_ONE_BLOCK / 2
