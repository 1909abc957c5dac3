"""Weights in an object store on their way to the workers, and from one run to another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stores
from torch import nn

from octnas.engine import ray_session
from octnas.engine.lent import Lent, keep_supernets
from octnas.errors import RunError
from octnas.record import RunFolder, SearchHeader, SupernetRecord, supernets
from octnas.storage import place
from octnas.train.weights import save_weights


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with stores.s3_store() as uri:
        yield uri


def test_a_file_is_sent_to_workers_once_and_again_when_it_has_changed(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bytes] = []
    monkeypatch.setattr(ray_session.ray, "put", lambda content: sent.append(content) or len(sent))
    files, path = ray_session.StoredFiles(), place(f"{bucket}/supernets/resnet18.safetensors")
    with pytest.raises(RunError, match=r"cannot read s3://.*resnet18\.safetensors"):
        files.put(path)
    path.write_bytes(b"one")
    first = files.put(path)
    assert files.put(place(str(path))) is first
    path.write_bytes(b"three")
    assert files.put(path) is not first
    assert sent == [b"one", b"three"]


def run_of(name: str, **options: Any) -> RunFolder:
    header = SearchHeader(
        name=name, space_yaml="", budget_gflops=1.0, trials=1, seed=0, data="glyphs", options=options
    )
    return RunFolder.create(name, header)


def test_shared_weights_of_another_run_are_copied_into_the_storage(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path))
    lender, borrower = run_of("lender"), run_of("borrower", storage=f"{bucket}/runs")
    save_weights(nn.Linear(2, 2), lender.supernet("resnet18"))
    record = SupernetRecord(
        backbone="resnet18", state="complete", reason=None, epochs=3, accuracy=0.5, seconds=1.0
    )
    files = {"resnet18": lender.supernet("resnet18")}
    keep_supernets(borrower, Lent(name="lender", records={"resnet18": record}, files=files, missing=()))
    copied = place(f"{bucket}/runs/borrower/supernets/resnet18.safetensors")
    assert copied.read_bytes() == lender.supernet("resnet18").read_bytes()
    assert [each.backbone for each in supernets(borrower.journal.read())] == ["resnet18"]
    keep_supernets(
        run_of("third"),
        Lent(name="borrower", records={"resnet18": record}, files={"resnet18": copied}, missing=()),
    )
    assert (tmp_path / "third" / "supernets" / "resnet18.safetensors").read_bytes() == copied.read_bytes()
    lender.journal.release()
    borrower.journal.release()
