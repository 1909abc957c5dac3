"""MLflow at the size of a cluster's searches: time and bytes a trial, and how the queries of a resume grow.

Writes made-up trials of six scores each, as `octnas search` does, into an MLflow server on a PostgreSQL that
this script starts on loopback, or into a SQLite file; a line of figures for each size of the growing store.
Run from the repository's root, on Linux with Debian's postgresql:

    python benchmarks/tracking_scale.py --trials 2000 --store server --store sqlite
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers import mlflow_server, postgres

from octnas.architecture import Architecture
from octnas.record import EpochScore, FrontReport, SearchHeader, TrialRecord, TrialState
from octnas.record.mlflow_adapter import Tracker

__all__ = ["main"]

SCORES = 6


def trial(number: int) -> TrialRecord:
    """A finished trial as a search at scale has them."""
    draw = random.Random(number)
    alpha = draw.choice(("0.125", "0.25", "0.375", "0.5", "0.625", "0.75"))
    record = TrialRecord(
        id=str(number),
        architecture=Architecture.uniform("resnet50", alpha=alpha, downsample="pooled"),
        state=TrialState.RUNNING,
        gflops=round(draw.uniform(1.0, 4.0), 3),
        params=25_557_032,
    )
    for epoch in range(1, SCORES + 1):
        accuracy = draw.random()
        record = record.with_score(
            EpochScore(
                epoch=epoch,
                accuracy=accuracy,
                loss=1 - accuracy,
                train_loss=1.1 - accuracy,
                seconds=100.0,
                train_seconds=90.0,
                images_per_second=800.0,
            )
        )
    return record.with_state(TrialState.COMPLETE)


def header(name: str, trials: int) -> SearchHeader:
    return SearchHeader(
        name=name,
        space="imagenet-2d",
        space_yaml="name: imagenet-2d\n",
        budget_gflops=4.0,
        trials=trials,
        seed=0,
        data="made up",
        created="2026-01-01T00:00:00+00:00",
    )


@contextmanager
def counted_requests() -> Iterator[list[str]]:
    """What MLflow's client asks a server, while the context is open."""
    import requests

    asked: list[str] = []
    send: Callable[..., Any] = requests.Session.request

    def request(self: Any, method: str, url: str, **kwargs: Any) -> Any:
        asked.append(f"{method} {url.split('/api/2.0/', 1)[-1].split('/artifacts/', 1)[0]}")
        return send(self, method, url, **kwargs)

    requests.Session.request = request  # type: ignore[method-assign]
    try:
        yield asked
    finally:
        requests.Session.request = send  # type: ignore[method-assign]


def measure(uri: str, size: Callable[[], int], trials: int, marks: list[int]) -> list[dict[str, float]]:
    """A row for each mark: what one more trial costs there, and what a resume would have to ask."""
    rows = []
    tracker = Tracker(uri)
    tracker.start_search(header("scale", trials))
    empty, last = size(), 0
    began, worked = time.perf_counter(), time.process_time()
    with counted_requests() as asked:
        for number in range(1, trials + 1):
            tracker.log_trial(trial(number))
            if number in marks:
                spent, work = time.perf_counter() - began, time.process_time() - worked
                requests, held = len(asked) / (number - last), size() - empty
                resumed = Tracker(uri)
                begin = time.perf_counter()
                resumed.start_search(header("scale", trials))
                found = time.perf_counter() - begin
                begin = time.perf_counter()
                resumed.log_trial(trial(number))
                nothing = time.perf_counter() - begin
                begin = time.perf_counter()
                resumed.link()
                rows.append(
                    {
                        "trials": number,
                        "ms_a_trial": 1000 * spent / (number - last),
                        "driver_cpu_ms_a_trial": 1000 * work / (number - last),
                        "requests_a_trial": requests,
                        "kB_a_trial": held / number / 1000,
                        "resume_s": found,
                        "known_trial_ms": 1000 * nothing,
                        "link_ms": 1000 * (time.perf_counter() - begin),
                        "driver_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1.024e-3,
                    }
                )
                print(json.dumps({key: round(value, 2) for key, value in rows[-1].items()}), flush=True)
                asked.clear()
                last, began, worked = number, time.perf_counter(), time.process_time()
        begin = time.perf_counter()
        curve = tuple(number / trials for number in range(1, trials + 1))
        report = FrontReport(
            note="n", hypervolume=1.0, front_size=5, finished=trials, files={}, hypervolumes=curve
        )
        tracker.log_front(report)
        tracker.finish("complete")
    print(json.dumps({"end_s": round(time.perf_counter() - begin, 2)}), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--store", action="append", choices=("server", "sqlite"))
    parser.add_argument("--workers", type=int, default=2, help="processes of the MLflow server")
    options = parser.parse_args()
    marks = [each for each in (100, 500, 1000, 2000, 5000, 10000, 20000, 50000) if each < options.trials]
    marks.append(options.trials)
    with tempfile.TemporaryDirectory() as folder:
        for store in options.store or ("server", "sqlite"):
            print(f"{store}:", flush=True)
            if store == "sqlite":
                file = Path(folder) / "mlflow.db"
                measure(f"sqlite:///{file}", lambda file=file: file.stat().st_size, options.trials, marks)  # type: ignore[misc]
                continue
            with postgres() as database:
                place = Path(folder) / "server"
                with mlflow_server(database.uri, place, workers=options.workers) as server:
                    ask = "select pg_database_size('mlflow')"
                    measure(server.uri, lambda: int(database.ask(ask)), options.trials, marks)  # noqa: B023


if __name__ == "__main__":
    main()
