"""The commands of docs/cluster-tutorial.md on nodes of this machine, in their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import SETTINGS, LocalCluster
from documents import Command, blocks, commands
from readers import Reader

from octnas.front import SearchResult
from octnas.record import TrialState

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1200)]


def test_the_tutorial_can_be_followed(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        cluster.add()
    here = {"auto": cluster.address, "/shared/octnas": str(tmp_path / "shared")}
    reader = Reader(path=tmp_path, env=SETTINGS)
    for block in blocks("docs/cluster-tutorial.md"):
        for command in commands(block.text):
            if command.words[0] == "octnas":
                words = tuple(here.get(word, word) for word in command.words)
                reader.run(Command(command.text, words))
    joined = next(said.err for said in reader.said if "--trials 48" in said.what)
    assert f"joined the cluster at {cluster.address}: 2 nodes take 2 trials" in joined
    monkeypatch.chdir(tmp_path)
    result = SearchResult.from_run("across")
    assert {each.state for each in result.trials} <= {TrialState.COMPLETE, TrialState.STOPPED}
    assert list((tmp_path / "shared" / "across").iterdir())
    assert (tmp_path / "my-model" / "model.onnx").is_file()
