"""A cluster and a working directory of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_case import Place
from clusters import LocalCluster, local_cluster


@pytest.fixture
def cluster() -> Iterator[LocalCluster]:
    with local_cluster() as found:
        yield found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Place.make(tmp_path) as found:
        yield found
