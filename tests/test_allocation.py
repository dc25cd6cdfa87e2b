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
from tlg.allocation import keep_freed_memory

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


BUILDING = PROGRAM.replace(
    "keep_freed_memory()", "from tlg.network.backbones.registry import build_backbone; build_backbone('tiny')"
)


def page_faults(how: str, program: str = PROGRAM) -> list[int]:
    done = subprocess.run([sys.executable, "-c", program, how], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_blocks_are_used_again_in_every_thread() -> None:
    assert max(page_faults("kept")) < PAGES_OF_ONE_BLOCK
    assert min(page_faults("default")) > ROUNDS * PAGES_OF_ONE_BLOCK / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_a_host_that_makes_a_network_keeps_its_own_settings() -> None:
    assert min(page_faults("kept", BUILDING)) > ROUNDS * PAGES_OF_ONE_BLOCK / 2


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_what_loading_frees_is_the_system_s_again() -> None:
    """Blocks of 8 MB are kept by default, once one was freed."""
    small = PROGRAM.replace(f"{BLOCK_MB} << 20", "8 << 20").replace("keep_freed_memory", "give_freed_memory_back")
    assert min(page_faults("kept", small)) > ROUNDS * PAGES_OF_ONE_BLOCK / 8 / 2
    assert page_faults("default", small)[0] < ROUNDS * PAGES_OF_ONE_BLOCK / 8 / 2
