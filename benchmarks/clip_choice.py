"""Does a search choose 2D or 3D rightly? Two clip tasks, several seeds, as Markdown tables.

    python benchmarks/clip_choice.py --out clip-choice.md
    python benchmarks/clip_choice.py --seeds 5 --store clip-choice.jsonl

`octnas search --space clips-small --data clips-motion --seed S --json` is run as a user would, and the same
for `clips-appearance`, one after the other. *Chosen* is the cheapest member of the front within one point of
its most accurate one; right is a 3D backbone where the label is how the clip moves, and a 2D one, which looks
at frames one by one, where it is what the clip shows. Frame by frame a network can know the axis of a motion,
never its direction: at most 50 % of `clips-motion`.

With `--store` finished searches are kept, and a run that was cut off goes on. Options that are not this
script's own go to `octnas search`. Memory is summed over all processes (see `process_tree.py`).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import gpus, memory_gib, processor, versions
from main_job import table
from user_command import answer_of

from octnas import __version__
from octnas.machine import usable_cores

RIGHT = {"clips-motion": 3, "clips-appearance": 2}
"""Dimensions of the backbone that ought to be chosen."""
WITHIN = 0.01
"""How much less accurate than the best of the front the chosen member may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What one search came to. Accuracies are of validation clips, 0 to 1."""

    data: str
    seed: int
    options: list[str]
    minutes: float
    gib: float
    """Peak memory of all processes."""
    trials: int
    """Trainings begun, yardsticks among them."""
    chosen: str
    dims: int
    gflops: float
    accuracy: float
    best: dict[str, float]
    """Highest accuracy of a complete trial within the budget, by dimensions ("2", "3")."""
    front: list[tuple[int, float, float]]
    """(dims, gflops, accuracy) of each member, by cost."""

    @property
    def right(self) -> bool:
        """Whether the backbone has the dimensions that the task asks for."""
        return self.dims == RIGHT[self.data]


def main() -> None:
    """Runs the searches that the store lacks, prints and writes the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="searches of each task")
    parser.add_argument("--store", type=Path, help="JSON lines of finished searches; default: none kept")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    given, options = parser.parse_known_args()
    known = stored(given.store)
    found: list[Choice] = []
    for seed in range(given.seeds):
        for data in RIGHT:
            done = [each for each in known if (each.data, each.seed, each.options) == (data, seed, options)]
            choice = done[0] if done else searched(data, seed, options)
            found.append(choice)
            if given.store is not None and not done:
                with given.store.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(choice)) + "\n")
            print(
                f"{data} seed {seed}: {'right' if choice.right else 'wrong'}, {choice.chosen}",
                file=sys.stderr,
            )
    text = "\n\n".join([heading(options), searches(found), summary(found)])
    print(text)
    if given.out is not None:
        given.out.write_text(text + "\n", encoding="utf-8")


def stored(path: Path | None) -> list[Choice]:
    """The searches that a store holds."""
    if path is None or not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [Choice(**row | {"front": [tuple(member) for member in row["front"]]}) for row in rows]


def searched(data: str, seed: int, options: Sequence[str]) -> Choice:
    """One search in a folder of its own."""
    arguments = ["search", "--space", "clips-small", "--data", data, "--seed", str(seed), *options, "--json"]
    with tempfile.TemporaryDirectory(prefix="octnas-clips-") as folder:
        answer = answer_of(arguments, Path(folder))
    return choice_of(
        answer.document,
        data=data,
        seed=seed,
        options=options,
        minutes=answer.seconds / 60,
        peak=answer.memory.bytes,
    )


def choice_of(
    document: dict[str, Any], *, data: str, seed: int, options: Sequence[str], minutes: float, peak: int
) -> Choice:
    """What `search --json` came to."""
    trials = {trial["id"]: trial for trial in document["trials"]}
    front = sorted((trials[name] for name in document["front"]), key=lambda trial: trial["gflops"])
    most = max(trial["accuracy"] for trial in front)
    chosen = next(trial for trial in front if trial["accuracy"] >= most - WITHIN)
    whole = [trial for trial in trials.values() if trial["state"] == "complete" and trial["within_budget"]]
    best = {
        str(dims): max((trial["accuracy"] for trial in whole if trial["dims"] == dims), default=0.0)
        for dims in (2, 3)
    }
    return Choice(
        data=data,
        seed=seed,
        options=list(options),
        minutes=minutes,
        gib=peak / 2**30,
        trials=len(trials),
        chosen=chosen["backbone"],
        dims=chosen["dims"],
        gflops=chosen["gflops"],
        accuracy=chosen["accuracy"],
        best=best,
        front=[(trial["dims"], trial["gflops"], trial["accuracy"]) for trial in front],
    )


def heading(options: Sequence[str]) -> str:
    """The command and the machine."""
    memory = memory_gib()
    machine = [f"{processor()}, {usable_cores()} cores"]
    machine += [] if memory is None else [f"{memory:.0f} GiB"]
    machine.append(f"GPU: {', '.join(gpus()) or 'none'}")
    command = " ".join(["octnas search --space clips-small --data DATA --seed SEED", *options, "--json"])
    made_with = f"octnas {__version__}, {versions('torch', 'ray', 'optuna')}"
    return f"`{command}` on {', '.join(machine)}; {made_with}. MFLOPs are 10^6 multiply-adds."


def searches(found: Sequence[Choice]) -> str:
    """One row a search."""
    header = (
        "data",
        "seed",
        "chosen",
        "MFLOPs",
        "accuracy",
        "best 2D",
        "best 3D",
        "front, by cost",
        "right",
        "minutes",
        "peak memory, GiB",
    )
    rows = [
        (
            each.data,
            str(each.seed),
            each.chosen,
            f"{1e3 * each.gflops:.1f}",
            percent(each.accuracy),
            percent(each.best["2"]),
            percent(each.best["3"]),
            " ".join(f"{dims}D" for dims, _, _ in each.front),
            "yes" if each.right else "no",
            f"{each.minutes:.1f}",
            f"{each.gib:.1f}",
        )
        for each in sorted(found, key=lambda each: (each.data, each.seed))
    ]
    return table(header, rows)


def summary(found: Sequence[Choice]) -> str:
    """How often each task's searches chose rightly."""
    rows = []
    for data, dims in RIGHT.items():
        own = [each for each in found if each.data == data]
        rows.append(
            (
                data,
                f"{dims}D",
                f"{sum(each.right for each in own)} of {len(own)}",
                percent(statistics.median(each.best["2"] for each in own)),
                percent(statistics.median(each.best["3"] for each in own)),
                f"{max(each.minutes for each in own):.1f}",
            )
        )
    return table(
        ("data", "right is", "chosen rightly", "best 2D, median", "best 3D, median", "longest, min"), rows
    )


def percent(share: float) -> str:
    """For instance "96.4 %"."""
    return f"{100 * share:.1f} %"


if __name__ == "__main__":
    main()
