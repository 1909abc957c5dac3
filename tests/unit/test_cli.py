"""The command line: what each command prints, and how it refuses what it cannot do."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli_case import SMALL, SPACE, Done, Octnas, caller, in_folder_with_a_space

from octnas import engine
from octnas.architecture import Architecture
from octnas.cli import app
from octnas.costs import cost
from octnas.engine.confirm import DEFAULT_CONFIRM, MAX_CONFIRM
from octnas.engine.optuna_adapter import SAMPLERS
from octnas.engine.samplers import DEFAULT_SAMPLER, SAMPLER_NAMES
from octnas.errors import RunError
from octnas.record import RunFolder, SearchHeader, TrialRecord, TrialState
from octnas.space import catalog, parse_space


@pytest.fixture
def octnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Octnas:
    """Runs `octnas ...` in an empty working directory that holds a space, tiny.yaml."""
    in_folder_with_a_space(tmp_path, monkeypatch)
    return caller(monkeypatch, capsys)


@pytest.fixture
def searched(octnas: Octnas) -> RunFolder:
    """A finished search named `one`: a complete trial of resnet26, and one that failed."""
    space = parse_space(SPACE)
    header = SearchHeader(
        name="one",
        space="tiny",
        space_yaml=space.to_yaml(),
        budget_gflops=0.04,
        trials=2,
        seed=0,
        data="fashion-sample",
    )
    run = RunFolder.create("one", header)
    for trial_id, state, accuracy in (("1", TrialState.COMPLETE, 0.75), ("2", TrialState.FAILED, None)):
        architecture = space.uniform("resnet26", "1/2" if trial_id == "1" else "1/4")
        record = TrialRecord(
            id=trial_id,
            architecture=architecture,
            state=state,
            gflops=space.gflops(architecture),
            params=1,
            accuracy=accuracy,
            reason=None if accuracy else "ValueError: no",
            within_budget=True,
        )
        run.journal.append_trial(record)
    run.journal.append({"event": "end", "state": "complete"})
    run.journal.release()
    return run


# ---------------------------------------------------------------- cost
def test_cost_gives_the_papers_figure(octnas: Octnas) -> None:
    report = octnas("cost", "resnet50", "--alpha", "0.5", "--json").document
    assert {"backbone", "input", "gflops", "params", "activation_elements"} <= report.keys()
    assert (report["backbone"], report["input"]) == ("resnet50", "3x224x224")
    assert report["gflops"] == 2.367143936  # octave ResNet-50, alpha .5: 2.4 GFLOPs in the paper's table
    assert report["params"] == 25_557_032  # torchvision's resnet50
    want = cost(Architecture.uniform("resnet50", alpha=0.5), input_shape=(3, 224, 224))
    assert report["activation_elements"] == want.activation_elements
    assert report["digest"] == Architecture.uniform("resnet50", alpha=0.5).digest


def test_cost_takes_a_file_and_a_trial(octnas: Octnas, searched: RunFolder, tmp_path: Path) -> None:
    architecture = searched.record("1").architecture
    (tmp_path / "arch.json").write_text(architecture.to_json(), encoding="utf-8")
    shape = ("--input", "1x32x32", "--classes", "10")
    by_file = octnas("cost", "arch.json", *shape, "--json").document
    by_trial = octnas("cost", "one:1", "--json").document
    assert by_file == by_trial
    assert by_trial["gflops"] == searched.record("1").gflops
    assert (by_trial["input"], by_trial["classes"]) == ("1x32x32", 10)
    assert by_trial["low_channels"] == list(architecture.low_channels)


@pytest.mark.parametrize("shape", ["3x64x64", "1x45x33"])
def test_cost_is_what_two_counters_count(octnas: Octnas, shape: str) -> None:
    arguments = (
        "cost",
        "resnet18",
        "--alpha",
        "0.25",
        "--downsample",
        "pooled",
        "--input",
        shape,
        "--verify",
    )
    report = octnas(*arguments, "--verify", "--json").document
    assert report["verify"]["equal"] is True
    assert report["verify"]["thop_gflops"] == report["verify"]["pytorch_gflops"] == report["gflops"]
    assert report["verify"]["params"] == report["params"]
    text = octnas(*arguments, "--verify")
    assert text.code == 0
    assert "all equal" in text.out
    assert text.out.count(f"{report['gflops']:.9f}") == 3


# ---------------------------------------------------------------- spaces, dry run, what is there
def test_spaces_lists_the_catalog(octnas: Octnas) -> None:
    spaces = {each["name"]: each for each in octnas("spaces", "--json").document["spaces"]}
    assert spaces.keys() == catalog().keys()
    assert spaces["imagenet-2d"]["size"] == 31_864_698_249_441_334_960
    assert "small-2d" in octnas("spaces").out


def test_a_dry_run_sizes_up_the_budget(octnas: Octnas, tmp_path: Path) -> None:
    done = octnas("search", *SMALL, "--dry-run", "--no-estimate", "--json")
    assert done.err == ""
    assert "estimate" not in done.document
    report = done.document
    assert {"space", "size", "gflops", "feasible_share", "reachable"} <= report.keys()
    space = parse_space(SPACE)
    assert (report["space"], report["size"], report["reachable"]) == ("tiny", space.size(), True)
    assert report["gflops"] == {
        "min": space.min_gflops, "median": space.median_gflops, "max": space.max_gflops,
    }  # fmt: skip
    stages = 3  # with four alphas each: few enough to count one by one
    within = [
        space.gflops(space.decode(name, {f"{name}.stage{i + 1}": choice[i] for i in range(stages)})) <= 0.04
        for name in space.backbones
        for choice in itertools.product(range(4), repeat=stages)
    ]
    assert len(within) == report["size"] == 128
    assert report["feasible_share"] == sum(within) / 128
    assert 0 < sum(within) < 128
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_a_dry_run_estimates_the_time_by_default(octnas: Octnas, tmp_path: Path) -> None:
    done = octnas("search", *SMALL, "--dry-run", "--json", "--trials", "4", "--confirm", "2")
    estimate = done.document["estimate"]
    assert estimate.keys() == {
        "training_seconds", "peak_memory_mb", "search_seconds", "search_seconds_with_rungs",
        "confirm_seconds", "trainings", "workers", "cpu_hours", "gpu_hours",
    }  # fmt: skip
    assert estimate["training_seconds"].keys() == {"resnet18", "resnet26"}
    assert min(estimate["training_seconds"].values()) > 0
    assert estimate["trainings"] == {"candidates": 4, "yardsticks": 2, "confirming": 6}
    assert 0 < estimate["search_seconds_with_rungs"] <= estimate["search_seconds"]
    held = estimate["search_seconds"] * estimate["workers"] / 3600
    assert estimate["cpu_hours"] == pytest.approx(held, abs=1e-3)
    assert done.err.startswith("octnas: timing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_a_dry_run_of_an_unreachable_budget_prints_it_and_exits_2(octnas: Octnas, tmp_path: Path) -> None:
    done = octnas("search", "--space", "tiny.yaml", "--budget-gflops", "0.001", "--dry-run", "--json")
    assert done.code == 2
    assert (done.document["reachable"], done.document["feasible_share"]) == (False, 0.0)
    assert f"{done.document['gflops']['min']:.3f}" in done.err
    assert done.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_list_front_and_delete(octnas: Octnas, searched: RunFolder) -> None:
    listed = octnas("list", "--json").document["searches"]
    assert [(each["name"], each["state"], each["trials"]) for each in listed] == [("one", "complete", 2)]
    front = octnas("front", "one", "--json").document
    assert (front["name"], front["budget_gflops"], front["front"], front["best"]) == ("one", 0.04, ["1"], "1")
    trials = {each["id"]: each for each in front["trials"]}
    assert trials["1"]["accuracy"] == 0.75
    assert (trials["2"]["state"], trials["2"]["reason"], trials["2"]["accuracy"]) == (
        "failed", "ValueError: no", None,
    )  # fmt: skip
    area = 0.75 * (0.04 - trials["1"]["gflops"]) / 0.04
    assert front["hypervolume"] == pytest.approx(area, rel=1e-9)
    assert octnas("delete", "one", "--json").document == {"deleted": "one"}
    assert octnas("list", "--json").document == {"searches": []}
    assert octnas("front", "one").code == 2


# ---------------------------------------------------------------- bad input
REFUSED: dict[str, tuple[Sequence[str], str]] = {
    "unreachable budget": (["search", "--budget-gflops", "0.01"], r"smallest reachable cost .*0\.945"),
    "negative budget": (["search", "--budget-gflops", "-1"], "budget"),
    "zero budget": (["search", "--budget-gflops", "0"], "budget"),
    "budget that is no number": (["search", "--budget-gflops", "nan"], "budget"),
    "infinite budget": (["search", "--budget-gflops", "inf"], "budget"),
    "budget in words": (["search", "--budget-gflops", "two"], "budget-gflops.*'two'"),
    "no budget": (["search"], "--budget-gflops"),
    "dry run of an infinite budget": (["search", "--budget-gflops", "inf", "--dry-run", "--json"], "finite"),
    "unknown space": (["search", "--budget-gflops", "2", "--space", "imagnet-2d"], "mean 'imagenet-2d'"),
    "unknown space file": (["search", "--budget-gflops", "2", "--space", "no.yaml"], "no file no.yaml"),
    "malformed space": (["search", "--budget-gflops", "2", "--space", "broken.yaml"], "broken.yaml line 4"),
    "misspelt key": (["search", "--budget-gflops", "2", "--space", "misspelt.yaml"], "mean 'granularity'"),
    "unknown backbone": (["search", "--budget-gflops", "2", "--backbone", "resnet19"], "did you mean"),
    "unknown data": (["search", *SMALL, "--data", "fashion-samples"], "mean 'fashion-sample'"),
    "no such folder": (["search", *SMALL, "--data", "./images"], "images"),
    "folder of nothing": (["search", *SMALL, "--data", "."], "must hold images.*videos.*has none of them"),
    "unknown sampler": (["search", *SMALL, "--sampler", "tpi"], "tpi"),
    "too many seeds": (["search", *SMALL, "--confirm", str(MAX_CONFIRM + 1)], "confirm"),
    "negative seeds": (["search", *SMALL, "--confirm", "-1"], "confirm.*'-1'"),
    "no trials": (["search", *SMALL, "--trials", "0"], "trials.*'0'"),
    "no time": (["search", *SMALL, "--max-minutes", "0"], "max_minutes"),
    "time that is no number": (["search", *SMALL, "--max-minutes", "nan"], "max-minutes.*'nan'"),
    "too many cores": (["search", *SMALL, "--cpus-per-trial", "4096"], "cpus_per_trial"),
    "too many GPUs": (["search", *SMALL, "--gpus-per-trial", "4096"], "gpus_per_trial"),
    "negative seed": (["search", *SMALL, "--seed", "-1"], "seed"),
    "name that is a path": (["search", *SMALL, "--name", "../up"], r"'\.\./up'"),
    "server out of reach": (
        ["search", *SMALL, "--tracking-uri", "http://127.0.0.1:9"], r"127\.0\.0\.1:9.*start the server",
    ),
    "no tracking store": (["search", *SMALL, "--tracking-uri", "ftp://x/y"], "ftp://x/y"),
    "store in no folder": (["search", *SMALL, "--tracking-uri", "sqlite:////proc/x.db"], "/proc/x.db"),
    "unknown option": (["search", "--budget-gflop", "2"], "--budget-gflop"),
    "unknown command": (["serch"], "serch"),
    "input that is no shape": (["cost", "resnet18", "--input", "224"], "3x224x224"),
    "input with a zero": (["cost", "resnet18", "--input", "3x0x224"], "3x0x224"),
    "input in other digits": (["cost", "resnet18", "--input", "3x²x224"], "3x224x224"),
    "alpha above 1": (["cost", "resnet18", "--alpha", "1.5"], "1.5"),
    "alpha in words": (["cost", "resnet18", "--alpha", "half"], "half"),
    "alpha that is no number": (["cost", "resnet18", "--alpha", "nan"], "nan"),
    "alpha of a file": (["cost", "arch.json", "--alpha", "0.5"], "--alpha"),
    "unknown architecture": (["cost", "resnet51"], "did you mean"),
    "file that is no architecture": (["cost", "tiny.yaml"], "JSON"),
    "file that is no text": (["cost", "bytes.json"], "bytes.json"),
    "folder for a file": (["cost", "folder"], "folder"),
    "trial of no search": (["cost", "none:1"], "none"),
    "no NAME": (["front"], "NAME"),
    "no such search": (["front", "nothing"], "nothing"),
    "resume of no search": (["resume", "nothing"], "nothing"),
    "delete of no search": (["delete", "nothing"], "nothing"),
    "training of no search": (["train", "nothing", "--best"], "nothing"),
    "both best and trial": (["train", "one", "--best", "--trial", "1"], "exactly one of --best and --trial"),
    "neither best nor trial": (["export", "one", "--to", "out"], "exactly one of --best and --trial"),
    "unknown scale": (["train", "one", "--best", "--scale", "fool"], "fool"),
    "export to nowhere": (["export", "one", "--best"], "--to"),
}  # fmt: skip


@pytest.mark.parametrize("fault", REFUSED)
def test_bad_input_is_refused_in_one_line(octnas: Octnas, tmp_path: Path, fault: str) -> None:
    (tmp_path / "broken.yaml").write_text(SPACE.replace("[0, 0.25", "[0, ]0.25"), encoding="utf-8")
    (tmp_path / "misspelt.yaml").write_text(SPACE.replace("granularity", "granularty"), encoding="utf-8")
    arch = Architecture.uniform("resnet18", alpha=0)
    (tmp_path / "arch.json").write_text(arch.to_json(), encoding="utf-8")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe{")
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    arguments, message = REFUSED[fault]
    done = octnas(*arguments)
    refused_well(done, message)
    assert sorted(tmp_path.rglob("*")) == before


def refused_well(done: Done, message: str) -> None:
    """Exit 2, nothing on standard output, one line that says what is wrong."""
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("octnas: ")
    assert done.err.endswith("\n")
    assert done.err.count("\n") == 1
    assert "Traceback" not in done.err
    assert re.search(message, done.err), done.err


def test_a_name_that_is_taken_is_refused(octnas: Octnas, searched: RunFolder) -> None:
    before = searched.journal.path.read_bytes()
    refused_well(octnas("search", *SMALL, "--name", "one"), "octnas resume one")
    assert searched.journal.path.read_bytes() == before
    refused_well(octnas("cost", "one:7"), "no trial '7'")
    refused_well(octnas("train", "one", "--trial", "7"), "no trial '7'")
    refused_well(octnas("train", "one", "--trial", "1", "--epochs", "0"), "none are given: name some with")
    refused_well(octnas("train", "one", "--trial", "1", "--init", "torchvison"), "mean 'torchvision'")
    refused_well(octnas("front", "one", "--html", "no/such/folder/front.html"), "writable folder")


@pytest.mark.parametrize("home", ["file/runs", "/proc/runs"])
def test_a_folder_that_cannot_be_written_is_refused(
    octnas: Octnas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("OCTNAS_HOME", home)
    refused_well(octnas("search", *SMALL), "OCTNAS_HOME")


def test_a_server_in_the_environment_is_asked_too(octnas: Octnas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    refused_well(octnas("search", *SMALL), r"127\.0\.0\.1:9")


def test_every_sampler_can_be_asked_for_by_its_name(octnas: Octnas, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def stop(*_: object, sampler: str, confirm: int, **__: object) -> None:
        asked.append((sampler, confirm))
        raise RunError("enough")

    monkeypatch.setattr(engine, "search", stop)
    for name in SAMPLERS:
        refused_well(octnas("search", *SMALL, "--sampler", name, "--confirm", "0"), "enough")
    refused_well(octnas("search", *SMALL), "enough")
    assert asked == [*((name, 0) for name in SAMPLERS), (DEFAULT_SAMPLER, DEFAULT_CONFIRM)]
    assert set(SAMPLERS) == set(SAMPLER_NAMES)


def test_ctrl_c_outside_a_search_ends_with_130(octnas: Octnas, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "train", interrupted)
    done = octnas("train", "one", "--best")
    assert (done.code, done.out) == (130, "")
    assert "Traceback" not in done.err


# ---------------------------------------------------------------- speed, and what every command has
def test_help_and_cost_load_no_heavy_library() -> None:
    heavy = {"torch", "ray", "optuna", "mlflow", "plotly", "matplotlib", "pandas"}
    for arguments in (["--help"], ["cost", "resnet50", "--alpha", "0.5"], ["spaces", "--json"], ["list"]):
        code = (
            f"import sys; sys.argv = {['octnas', *arguments]!r}\n"
            "from octnas.cli import main\n"
            "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
            f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout
        assert done.stderr == "[]\n", arguments


def test_every_command_takes_json_and_shows_an_example(octnas: Octnas) -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]
    assert set(names) == {
        "search", "resume", "list", "delete", "front", "cost", "latency", "profile", "spaces", "train",
        "export", "rank", "supernet", "dashboard",
    }  # fmt: skip
    for name in names:
        text = octnas(name, "--help")
        assert text.code == 0
        assert "--json" in text.out
        assert f"Example: octnas {name}" in text.out


def test_version(octnas: Octnas) -> None:
    import octnas as package

    done = octnas("--version")
    assert (done.code, done.out) == (0, f"octnas {package.__version__}\n")
