"""`octnas supernet`, and `octnas search` with shared weights, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_case import SMALL, SPACE, Octnas, caller, in_folder_with_a_space

from octnas import engine
from octnas.engine import shared_plan, sizing, sizing_shared
from octnas.record import EpochScore, RunFolder, SearchHeader
from octnas.space import parse_space


@pytest.fixture
def octnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Octnas:
    """Runs `octnas ...` in a directory with a space, tiny.yaml: exit code, standard output and error."""
    in_folder_with_a_space(tmp_path, monkeypatch)
    return caller(monkeypatch, capsys)


@pytest.fixture
def weights(octnas: Octnas) -> RunFolder:
    """A run of `octnas supernet`, named `weights`: one backbone's are trained, the other was dropped."""
    space = parse_space(SPACE)
    header = SearchHeader(
        name="weights",
        space="tiny",
        space_yaml=space.to_yaml(),
        budget_gflops=None,
        trials=0,
        seed=0,
        data="fashion-sample",
        options={"kind": "supernet", "init": "shared", "score": 0},
    )
    run = RunFolder.create("weights", header)
    score = EpochScore(
        epoch=1, accuracy=0.5, loss=1.0, train_loss=1.0, seconds=2.0, train_seconds=1.0, images_per_second=1.0
    )
    run.journal.append({"event": "supernet", "backbone": "resnet18", "score": score.to_dict()})
    for backbone, state in (("resnet18", "complete"), ("resnet26", "dropped")):
        end = {"event": "supernet-end", "backbone": backbone, "state": state, "reason": None, "seconds": 2.0}
        run.journal.append(end)
    run.journal.append({"event": "end", "state": "complete"})
    run.journal.release()
    return run


REFUSED = {
    "score from scratch": (["search", *SMALL, "--score", "9"], "`score` goes with init='shared'"),
    "supernet from scratch": (["search", *SMALL, "--supernet", "x"], "`supernet` goes with init='shared'"),
    "short trainings from nothing": (["search", *SMALL, "--fine-tune", "1"], "`fine_tune` needs weights"),
    "no scores": (["search", *SMALL, "--init", "shared", "--score", "0"], "score"),
    "no epochs": (["search", *SMALL, "--init", "shared", "--fine-tune", "0"], "fine-tune"),
    "unknown weights": (["search", *SMALL, "--init", "shard"], "did you mean 'shared'"),
    "dry run of unknown weights": (["search", *SMALL, "--init", "shard", "--dry-run"], "mean 'shared'"),
    "supernet of nowhere": (["search", *SMALL, "--init", "shared", "--supernet", "x"], "no run named 'x'"),
    "weights of other images": (
        ["search", *SMALL, "--init", "shared", "--supernet", "weights"], "must be of the images",
    ),
    "distilled too much": (["supernet", "--space", "tiny.yaml", "--distill", "2"], "distill"),
    "unreachable budget": (["supernet", "--space", "tiny.yaml", "--budget-gflops", "0.001"], "smallest"),
    "unknown space": (["supernet", "--space", "imagnet-2d"], "mean 'imagenet-2d'"),
    "unknown backbone": (["supernet", "--space", "tiny.yaml", "--backbone", "resnet19"], "did you mean"),
    "name that is taken": (["supernet", "--space", "tiny.yaml", "--name", "weights"], "resume weights"),
    "front of a supernet": (["front", "weights"], "octnas search --init shared --supernet weights"),
    "training of a supernet": (["train", "weights", "--trial", "1"], "--init shared --supernet weights"),
    "rank of a supernet": (["rank", "weights"], "octnas search --init shared --supernet weights"),
    "export of a supernet": (["export", "weights", "--best", "--to", "out"], "shared --supernet weights"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_input_is_refused_in_one_line(
    octnas: Octnas, weights: RunFolder, tmp_path: Path, fault: str
) -> None:
    before = sorted(tmp_path.rglob("*"))
    arguments, message = REFUSED[fault]
    code, out, err = octnas(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("octnas: ")
    assert err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


def test_list_shows_supernets(octnas: Octnas, weights: RunFolder) -> None:
    (listed,) = json.loads(octnas("list", "--json")[1])["searches"]
    assert (listed["kind"], listed["supernets"], listed["scored"], listed["trials"]) == ("supernet", 1, 0, 0)
    line = next(line for line in octnas("list")[1].splitlines() if "weights" in line)
    assert "1 supernet " in line
    assert "0/0" not in line


def test_supernet_prints_one_document_and_resume_goes_on_with_it(
    octnas: Octnas, weights: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = {
        "name": "weights", "kind": "supernet", "budget_gflops": None, "scored": 0,
        "supernets": [
            {"backbone": "resnet18", "state": "complete", "reason": None, "epochs": 3, "accuracy": 0.5,
             "seconds": 2.0, "weights": "runs/weights/supernets/resnet18.safetensors"},
            {"backbone": "resnet26", "state": "failed", "reason": "no", "epochs": 0, "accuracy": None,
             "seconds": 0.0, "weights": None},
        ],
    }  # fmt: skip
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(engine, "supernet", lambda space, **options: asked.append(options) or report)
    monkeypatch.setattr(engine, "resume_supernet", lambda name, **options: {**report, "name": name})
    code, out, _ = octnas(
        "supernet",
        "--space",
        "tiny.yaml",
        "--backbone",
        "resnet18",
        "--score",
        "7",
        "--distill",
        "0.5",
        "--json",
    )
    assert (code, json.loads(out)) == (0, report)
    assert (asked[0]["backbones"], asked[0]["score"], asked[0]["distill"]) == (["resnet18"], 7, 0.5)
    assert asked[0]["budget_gflops"] is None
    lines = octnas("resume", "weights")[1].splitlines()
    assert lines[0].startswith("resnet18: complete, 3 epochs, plain network 50.00 %: runs/weights/")
    assert lines[1] == "resnet26: failed (no), 0 epochs"
    assert lines[2].endswith("octnas search --init shared --supernet weights")


def test_a_dry_run_counts_supernets_and_scores(octnas: Octnas, monkeypatch: pytest.MonkeyPatch) -> None:
    from octnas.train.supernet import LENGTH

    pace = sizing.Pace(until=(10.0, 20.0, 30.0), test=1.0)
    monkeypatch.setattr(sizing, "_pace", lambda *_, **__: pace)
    monkeypatch.setattr(sizing_shared, "pace_of", lambda job, images: (40.0, 0.5))
    scratch, shared = (
        json.loads(octnas("search", *SMALL, "--dry-run", "--json", "--trials", "4", *init)[1])["estimate"]
        for init in ((), ("--init", "shared", "--score", "100"))
    )
    assert "shared_seconds" not in scratch
    workers = shared["workers"]
    assert shared["supernet_seconds"] == {"resnet18": 40 * LENGTH, "resnet26": 40 * LENGTH}
    assert shared["scoring_seconds"] == 50 / workers
    whole = 50 / workers + shared_plan.whole_seconds([40 * LENGTH] * 2, workers)
    assert shared["shared_seconds"] == pytest.approx(whole, abs=0.1)
    for name in ("search_seconds", "search_seconds_with_rungs"):
        assert shared[name] - scratch[name] == pytest.approx(whole, abs=0.2)
    table = octnas("search", *SMALL, "--dry-run", "--trials", "4", "--init", "shared", "--score", "100")[1]
    assert "100 architectures in" in table
    # Short trainings: one of three epochs.
    short = json.loads(
        octnas("search", *SMALL, "--dry-run", "--json", "--init", "shared", "--fine-tune", "1")[1]
    )["estimate"]
    assert short["training_seconds"] == {"resnet18": 10.0, "resnet26": 10.0}
