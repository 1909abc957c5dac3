"""What a shell offers, asked through the installed command as bash, zsh and fish ask it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from cli_case import SPACE

from octnas import backbones, cli_complete
from octnas.data.clip_sets import CLIP_SETS
from octnas.data.load import IMAGE_SETS
from octnas.engine.samplers import SAMPLER_NAMES
from octnas.record import RunFolder, SearchHeader, TrialRecord, TrialState
from octnas.space import catalog, parse_space

COMMAND = Path(sysconfig.get_path("scripts")) / "octnas"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two finished searches, the later by name written to first."""
    monkeypatch.setenv("OCTNAS_HOME", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    space = parse_space(SPACE)
    for seconds, name in enumerate(("zebra", "ant")):
        header = SearchHeader(
            name=name,
            space="tiny",
            space_yaml=space.to_yaml(),
            budget_gflops=0.04,
            trials=3,
            seed=0,
            data="glyphs",
        )
        run = RunFolder.create(name, header)
        for trial_id, state, accuracy, yardstick in (
            ("1", TrialState.COMPLETE, 0.75, "plain"),
            ("2", TrialState.FAILED, None, None),
            ("11", TrialState.COMPLETE, 0.832, None),
        ):
            run.journal.append_trial(
                TrialRecord(
                    id=trial_id,
                    architecture=space.uniform("resnet26", "1/2"),
                    state=state,
                    gflops=1.589,
                    params=1,
                    accuracy=accuracy,
                    yardstick=yardstick,
                    reason=None if accuracy else "ValueError: no",
                )
            )
        run.journal.release()
        os.utime(run.journal.path, (1e9 + seconds, 1e9 + seconds))
    return tmp_path / "runs"


def _bash(line: str) -> list[str]:
    """What bash is offered at the end of the line."""
    words = line.split(" ")
    asked = {"_OCTNAS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [COMMAND], env={**os.environ, **asked}, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    return done.stdout.split()


CASES = {
    "commands": ("octnas sp", ["spaces"]),
    "options": ("octnas search --max", ["--max-minutes"]),
    "runs, the last one first": ("octnas resume ", ["ant", "zebra"]),
    "runs by how they begin": ("octnas delete z", ["zebra"]),
    "runs of weights": ("octnas search --supernet a", ["ant"]),
    "trials, the best first": ("octnas train ant --trial ", ["11", "1", "2"]),
    "trials by how they begin": ("octnas export --to out zebra --trial 1", ["11", "1"]),
    "trials of no run": ("octnas train --trial ", []),
    "trials of an unknown run": ("octnas train none --trial ", []),
    "backbones of a search": ("octnas search --backbone resnet10", ["resnet10", "resnet101"]),
    "backbones as an architecture": ("octnas cost i3d_resnet5", ["i3d_resnet50"]),
    "spaces": ("octnas profile --space small", [name for name in catalog() if name.startswith("small")]),
    "data": ("octnas search --data clips-", ["clips-appearance", "clips-motion"]),
    "samplers": ("octnas search --sampler ", list(SAMPLER_NAMES)),
    "weights": ("octnas train ant --init t", ["torchvision"]),
    "clusters": ("octnas resume ant --cluster ", ["auto", "none"]),
    "runtimes": ("octnas latency resnet18 --runtime e", ["eager"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bash_is_offered(case: str) -> None:
    line, want = CASES[case]
    assert _bash(line) == want


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_say_what_a_trial_reached(shell: str) -> None:
    asked = {"_OCTNAS_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "octnas train ant --trial "}
    asked["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    done = subprocess.run([COMMAND], env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    for said in (
        "complete, 83.20 %, 1.589 GFLOPs",
        "plain, complete, 75.00 %, 1.589 GFLOPs",
        "failed, 1.589 GFLOPs",
    ):
        assert said in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_real_shell_completes_a_run(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    offered = {
        "bash": 'eval "$(_OCTNAS_COMPLETE=source_bash octnas)"; complete -p octnas >&2\n'
        "COMP_WORDS=(octnas front z); COMP_CWORD=2; _octnas_completion octnas; echo ${COMPREPLY[@]}",
        "zsh": "compdef() { :; }; words=(octnas front z); CURRENT=3; _arguments() { echo $@; }\n"
        'eval "$(_OCTNAS_COMPLETE=source_zsh octnas)"; _octnas_completion',
        "fish": '_OCTNAS_COMPLETE=source_fish octnas | source; complete -C "octnas front z"',
    }[shell]
    quiet = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    done = subprocess.run(
        [shell, *quiet, "-c", offered],
        env={**os.environ, "PATH": f"{COMMAND.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout.split()[-1].strip("\"()':")) == (0, "zebra"), done.stderr
    if shell == "bash":
        assert "complete -o default -F _octnas_completion octnas" in done.stderr


@pytest.mark.parametrize(
    "line", ["octnas front ", "octnas train ant --trial ", "octnas search --space ", "octnas cost "]
)
def test_no_completion_loads_a_heavy_library(line: str) -> None:
    heavy = {"torch", "ray", "optuna", "mlflow", "matplotlib", "pandas", "scipy", "sklearn"}
    code = (
        "import sys; sys.argv = ['octnas']\n"
        "from octnas.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    asked = {"_OCTNAS_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **asked}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip()
    assert done.stderr == "[]\n"


def test_the_data_sets_are_those_that_there_are() -> None:
    assert list(cli_complete.DATA_SETS) == sorted({*IMAGE_SETS, *CLIP_SETS})
    assert cli_complete.backbones() == list(backbones.names())


def test_a_home_that_cannot_be_read_offers_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTNAS_HOME", str(home / "ant" / "journal.jsonl"))
    assert cli_complete.runs() == []
    monkeypatch.setenv("OCTNAS_HOME", str(home / "missing"))
    assert cli_complete.runs() == []


def test_only_the_end_of_a_long_journal_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = home / "ant" / "journal.jsonl"
    last = journal.read_bytes().splitlines()[-1]
    monkeypatch.setattr(cli_complete, "_TAIL_BYTES", len(last) + 20)
    assert _ids("ant") == ["11"]
    with journal.open("ab") as file:
        file.write(b'{"event": "trial", "trial": {"id": "12"')  # torn
    monkeypatch.undo()
    monkeypatch.setenv("OCTNAS_HOME", str(home))
    assert _ids("ant") == ["11", "1", "2"]


def _ids(name: str) -> list[str]:
    import typer
    from typer.core import TyperCommand

    context = typer.Context(TyperCommand("train"))
    context.params["name"] = name
    return [trial_id for trial_id, _ in cli_complete.trials(context)]
