"""The documents as they stand: their files, commands and Python, in their order, each in a folder of its own.

`tests/followed.py` says what is made smaller in which, `tests/documents.py` what is not run and why. Two of
them are followed in `test_tutorial.py`, which reads what they print.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from followed import FOLLOWED

__all__: list[str] = []

ELSEWHERE = {"docs/own-network.md", "docs/tutorial.md"}

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(name, marks=[pytest.mark.slow] if followed.slow else [])
        for name, followed in FOLLOWED.items()
        if name not in ELSEWHERE
    ],
)
def test_what_it_says_can_be_done(document: str, tmp_path: Path) -> None:
    reader = FOLLOWED[document].reader(tmp_path)
    reader.follow(document)
    for said in reader.said:
        print(f"{said.seconds:6.1f} s  {said.what.splitlines()[0]}")
