"""What the benchmark of the two clip tasks reads off a search."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from clip_choice import Choice, choice_of, stored, summary


def trial(name: str, dims: int, gflops: float, accuracy: float, **changes: Any) -> dict[str, Any]:
    backbone = "resnet10" if dims == 2 else "i3d_resnet10"
    return {
        "id": name,
        "backbone": backbone,
        "dims": dims,
        "gflops": gflops,
        "accuracy": accuracy,
        "state": "complete",
        "within_budget": True,
        **changes,
    }


DOCUMENT = {
    "front": ["dear", "cheap", "middle"],
    "trials": [
        trial("cheap", 2, 0.005, 0.45),
        trial("middle", 3, 0.008, 0.991),
        trial("dear", 3, 0.012, 0.999),
        trial("over", 2, 0.020, 0.60, within_budget=False),
        trial("stopped", 2, 0.006, 0.50, state="stopped"),
    ],
}


def choice(data: str, document: dict[str, Any]) -> Choice:
    return choice_of(document, data=data, seed=0, options=[], minutes=1.0, peak=2**30)


def test_the_cheapest_within_a_point_of_the_most_accurate_is_chosen() -> None:
    found = choice("clips-motion", DOCUMENT)
    assert (found.gflops, found.accuracy, found.dims, found.right) == (0.008, 0.991, 3, True)
    assert not choice("clips-appearance", DOCUMENT).right
    further = {**DOCUMENT, "trials": [trial("middle", 3, 0.008, 0.988), *DOCUMENT["trials"][2:]]}
    further["front"] = ["middle", "dear"]
    assert choice("clips-motion", further).gflops == 0.012


def test_the_best_of_each_is_of_complete_trials_within_the_budget() -> None:
    found = choice("clips-motion", DOCUMENT)
    assert found.best == {"2": 0.45, "3": 0.999}
    assert found.front == [(2, 0.005, 0.45), (3, 0.008, 0.991), (3, 0.012, 0.999)]
    assert found.gib == pytest.approx(1.0)


def test_a_store_gives_back_what_was_kept(tmp_path: Path) -> None:
    found = [choice(data, DOCUMENT) for data in ("clips-motion", "clips-appearance")]
    path = tmp_path / "store.jsonl"
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in found), encoding="utf-8")
    assert stored(path) == found
    assert stored(tmp_path / "none.jsonl") == []
    assert "| clips-motion | 3D | 1 of 1 |" in summary(found)
    assert "| clips-appearance | 2D | 0 of 1 |" in summary(found)
