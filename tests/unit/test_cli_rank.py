"""`octnas rank`: what it asks for, what it prints, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cli_case import Octnas, caller, with_commands_of

from octnas import cli_rank, engine
from octnas.errors import Interrupted, RunError

DOCUMENT: dict[str, Any] = {
    "name": "first",
    "models": 6,
    "seeds": 2,
    "full_epochs": 16,
    "proxy_epochs": 4,
    "ceiling": 0.83,
    "ceiling_interval": [0.7, 0.9],
    "ceiling_spearman": 0.9,
    "ceiling_spearman_interval": [0.8, 0.95],
    "noise_points": 0.5,
    "signal_points": 1.5,
    "proxies": {
        "scratch": {
            "tau": 0.45,
            "tau_interval": [0.1, 0.7],
            "spearman": 0.5,
            "spearman_interval": [0.2, 0.8],
            "count": 6,
            "share_of_ceiling": 0.54,
            "label": "scratch, epoch 4/4",
        }
    },
    "ranked_by": ["scratch"],
    "architectures": [],
    "left_out": [],
    "warnings": ["Kendall's tau is under 0.6."],
    "picture": "/somewhere/else/rank.png",
}


@pytest.fixture
def octnas(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Octnas:
    """Runs `octnas ...` with the command of `cli_rank`."""
    with_commands_of(cli_rank.register, monkeypatch)
    return caller(monkeypatch, capsys)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    calls: list[tuple[str, dict[str, Any]]] = []

    def rank(name: str, **options: Any) -> dict[str, Any]:
        calls.append((name, {key: value for key, value in options.items() if key != "listener"}))
        return DOCUMENT

    monkeypatch.setattr(engine, "rank", rank, raising=False)
    return calls


def test_json_is_the_document_and_defaults_are_the_engines(
    octnas: Octnas, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    done = octnas("rank", "first", "--json")
    assert (done.code, json.loads(done.out)) == (0, DOCUMENT)
    octnas("rank", "first", "--models", "24", "--seeds", "3", "--epochs", "5")
    nothing = {"tracking_uri": None}
    assert asked == [
        ("first", {"models": 16, "seeds": 2, "epochs": None, **nothing}),
        ("first", {"models": 24, "seeds": 3, "epochs": 5, **nothing}),
    ]


def test_the_table_has_figures_ceiling_and_warning(
    octnas: Octnas, asked: list[tuple[str, dict[str, Any]]]
) -> None:
    words = " ".join(octnas("rank", "first").out.split())
    assert "0.45 [0.10, 0.70] 0.50 [0.20, 0.80] 54 %" in words
    assert "Ceiling: tau 0.83 [0.70, 0.90]" in words
    assert "Kendall's tau is under 0.6." in words
    assert "/somewhere/else/rank.png" in words


def test_ctrl_c_ends_with_130_and_the_line_that_goes_on(
    octnas: Octnas, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rank(name: str, **options: Any) -> dict[str, Any]:
        raise Interrupted(name)

    monkeypatch.setattr(engine, "rank", rank, raising=False)
    done = octnas("rank", "first", "--models", "8", "--epochs", "2", "--json")
    assert (done.code, done.out) == (130, "")
    assert done.err.endswith("octnas rank first --models 8 --seeds 2 --epochs 2\n")


def test_bad_input_is_one_line_and_exit_code_2(octnas: Octnas, monkeypatch: pytest.MonkeyPatch) -> None:
    assert octnas("rank", "first", "--models", "3").code == 2

    def rank(name: str, **options: Any) -> dict[str, Any]:
        raise RunError("no run named 'first'")

    monkeypatch.setattr(engine, "rank", rank, raising=False)
    done = octnas("rank", "first")
    assert (done.code, done.out, done.err) == (2, "", "octnas: no run named 'first'\n")
