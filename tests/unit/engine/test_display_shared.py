"""What a search shows of its supernets and shared scores."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from shared_case import campaign_of, drive, new_run

from octnas.engine import progress
from octnas.space import SearchSpace


def _shown(space: SearchSpace, *, terminal: bool, width: int = 200) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width, color_system=None)
    with progress(console) as listener:
        drive(campaign_of(new_run(space), space, listeners=(listener,)))
    return text.getvalue()


def test_lines_have_each_epoch_each_end_and_each_tenth(space: SearchSpace, runs_home: Path) -> None:
    lines = _shown(space, terminal=False).splitlines()
    first = r"\[0 s\] supernet resnet26: epoch 1/18, plain network 60.00 %, 1 s \| about \d+ s left"
    assert re.fullmatch(first, lines[0])
    epochs = [line for line in lines if re.search(r"supernet resnet18: epoch \d+/18", line)]
    assert len(epochs) == 17  # the last one is the end
    assert any(
        "supernet resnet18: complete, epoch 18/18, plain network 60.00 %, 18 s" in line for line in lines
    )
    scored = [line for line in lines if "architectures scored" in line]
    assert len(scored) <= 10
    assert scored[-1].startswith("[0 s] 60/60 architectures scored")


@pytest.mark.parametrize("width", [80, 120])
def test_a_bar_counts_epochs_then_scores(space: SearchSpace, runs_home: Path, width: int) -> None:
    shown = _shown(space, terminal=True, width=width)
    lines = [line for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", shown).splitlines() if line.strip()]
    assert all(len(line) <= width for line in lines)
    assert any(line.startswith("supernet resnet26: complete, epoch 18/18") for line in lines)
    assert any("60/60" in line and "scored 60/60" in line for line in lines)
    assert not any(line.startswith("supernet resnet26: epoch") for line in lines)
