"""What machines of a cluster must have in common."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import torch

from octnas import __version__
from octnas.engine.node_facts import NodeFacts, difference, facts, reads


def test_facts_are_of_this_machine() -> None:
    mine = facts()
    assert mine.host == platform.node()
    assert mine.versions["octnas"] == __version__
    assert mine.versions["torch"] == torch.__version__.partition("+")[0]
    assert mine.versions["Python"] == ".".join(platform.python_version_tuple()[:2])
    assert len(mine.gpu_bytes) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


def test_machines_that_differ_in_host_and_gpus_alone_agree() -> None:
    mine = facts()
    assert difference(mine, replace(mine, host="other", gpu_bytes=(16 * 2**30,))) is None


def test_a_difference_names_every_package_and_both_versions() -> None:
    mine = NodeFacts(host="a", versions={"Python": "3.11", "torch": "2.14.1", "octnas": "0.1.0"})
    theirs = replace(mine, versions={"Python": "3.12", "torch": "2.14.1"})
    assert difference(mine, theirs) == "Python 3.12 (here 3.11), octnas none (here 0.1.0)"


def test_a_file_is_seen_by_its_content_or_by_being_there(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"this")
    assert reads(file, b"this")
    assert not reads(file, b"that")
    assert not reads(tmp_path / "none", b"this")
    assert reads(file, None)
    assert not reads(tmp_path, None)
    assert not reads(tmp_path / "none", None)
