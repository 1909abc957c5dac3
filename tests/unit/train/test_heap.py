"""Freed memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from octnas.train.heap import _library

SCRIPT = """
import re
import torch
from octnas.train.heap import give_back

def resident() -> int:
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024

tensors = [torch.ones(25_000) for _ in range(2_000)]  # 200 MB in pieces of 100 kB
before = resident()
last = tensors[-1]
del tensors
give_back()
print(before - resident(), int(last.sum()))
"""


@pytest.mark.skipif(_library() is None or sys.platform != "linux", reason="needs the GNU C library")
def test_what_was_freed_is_given_back() -> None:
    """In a process of its own: what else is on a heap decides what can be given back."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    freed, last = map(int, done.stdout.split())
    assert freed > 150
    assert last == 25_000
