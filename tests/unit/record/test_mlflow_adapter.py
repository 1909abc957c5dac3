"""Against real stores, a SQLite file and an MLflow server.

Making one takes several seconds, so the file shares each for all its tests; the server's are marked slow.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_case import PROFILE, complete, header, running, score

from octnas.errors import TrackingError
from octnas.record import FrontReport, TrialState
from octnas.record.mlflow_adapter import Tracker
from octnas.record.mlflow_system import Sample

REPORT = FrontReport(
    note="**Best: trial 1**.\n\nAll accuracies are of one seed.",
    hypervolume=0.41,
    front_size=2,
    finished=3,
    files={"front.csv": "id,gflops\n1,1.137\n", "front.html": "<p>é</p>", "front.png": b"\x89PNG"},
    shared={"shared_tau": 0.62, "supernet_accuracy/resnet18": 0.7},
)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("server", marks=pytest.mark.slow)])
def uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/mlflow.db"
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *store, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(240):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


@pytest.fixture(scope="module")
def client(uri: str) -> Iterator[Any]:
    from mlflow.tracking import MlflowClient

    Tracker(uri).start_search(header("warm-up"))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _runs(client: Any, name: str, kind: str) -> list[Any]:
    experiment = client.get_experiment_by_name("octnas")
    found = client.search_runs([experiment.experiment_id], f"tags.`octnas.search` = '{name}'")
    return [run for run in found if run.data.tags["octnas.kind"] == kind]


def test_a_search_is_one_run_with_its_params_tags_and_space(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    run_id = tracker.start_search(header("one"))
    (run,) = _runs(client, "one", "search")
    assert run.info.run_id == run_id
    assert run.info.status == "RUNNING"
    assert run.data.params["budget_gflops"] == "2.0"
    assert run.data.params["space"] == "imagenet-2d"
    assert run.data.params["seed"] == "3"
    assert run.data.tags["octnas.data_fingerprint"] == "0123abcd"
    assert run.data.tags["octnas.version.octnas"] == "0.1.0"
    assert Path(client.download_artifacts(run_id, "space.yaml")).read_text() == "name: imagenet-2d\n"
    if uri.startswith("sqlite"):
        artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
        assert artifacts.is_relative_to(Path(uri.removeprefix("sqlite:///")).parent / "mlruns")
    assert tracker.links is not None
    assert f"/runs/{run_id}?workflowType=machine_learning" in tracker.links.search_page


def test_a_search_under_a_budget_of_time_tells_its_device_and_latencies(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    tracker.start_search(
        header("timed", budget_gflops=None, budget_ms=24.0, objective="latency", profile=PROFILE)
    )
    tracker.log_trial(complete("1", latency_ms=12.5))
    tracker.finish("complete")
    (run,) = _runs(client, "timed", "search")
    assert (run.data.params["budget_ms"], run.data.params["objective"]) == ("24.0", "latency")
    assert "budget_gflops" not in run.data.params
    tags = {name: run.data.tags[f"octnas.{name}"] for name in ("device", "runtime", "threads", "batch")}
    assert tags == {"device": "a processor, 2 cores", "runtime": "onnxruntime", "threads": "1", "batch": "1"}
    (trial,) = _runs(client, "timed", "trial")
    assert (trial.data.metrics["latency_ms"], trial.data.metrics["gflops"]) == (12.5, 1.137)
    tracker.start_search(header("untimed"))
    (plain,) = _runs(client, "untimed", "search")
    assert plain.data.params["objective"] == "gflops"
    assert "octnas.device" not in plain.data.tags


def test_a_trial_is_one_child_with_its_curve_whatever_is_repeated(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    parent = tracker.start_search(header("two"))
    record = running("5")
    tracker.log_trial(record)
    record = record.with_score(score(1, 0.4))
    tracker.log_trial(record)
    tracker.finish("interrupted")
    (run,) = _runs(client, "two", "trial")
    assert run.info.status == "KILLED"

    resumed = Tracker(uri)
    assert resumed.start_search(header("two")) == parent
    record = record.with_score(score(2, 0.6, loss=0.9))
    resumed.log_trial(record)
    (run,) = _runs(client, "two", "trial")
    assert run.info.status == "RUNNING"
    final = record.with_state(TrialState.COMPLETE)
    resumed.log_trial(final)
    resumed.log_trial(final)
    again = Tracker(uri)
    again.start_search(header("two"))
    again.log_trial(final)
    again.finish("complete")

    (run,) = _runs(client, "two", "trial")
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["octnas.trial_id"] == "5"
    assert run.data.tags["octnas.state"] == "complete"
    curve = client.get_metric_history(run.info.run_id, "accuracy")
    assert [(point.step, point.value) for point in curve] == [(1, 0.4), (2, 0.6)]
    assert [point.value for point in client.get_metric_history(run.info.run_id, "loss")] == [1.0, 0.9]
    assert run.data.metrics["gflops"] == 1.137
    assert run.data.metrics["params"] == 11_689_512
    assert run.data.metrics["seconds"] == 4.0
    assert run.info.end_time - run.info.start_time == 4000
    assert run.data.params["backbone"] == "resnet18"
    assert run.data.params["alphas"] == "0.5 0.5 0.5 0.5 | 0.5 0.5 0.5 0.5 | 0.5 0.5 0.5 0.5 | 0 0 0 0"
    assert (run.data.params["alpha.stage1"], run.data.params["alpha.stage4"]) == ("0.5", "0")
    written = Path(client.download_artifacts(run.info.run_id, "architecture.json")).read_text()
    assert json.loads(written) == json.loads(record.architecture.to_json())
    (search,) = _runs(client, "two", "search")
    assert search.info.status == "FINISHED"


def test_every_end_has_its_status(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    tracker.start_search(header("three"))
    tracker.log_trial(complete("1", yardstick="uniform-0.5"))
    tracker.log_trial(complete("2", alpha="0.25").with_state(TrialState.STOPPED, "rung 1"))
    tracker.log_trial(running("3", alpha="0.75").failed("loss is nan in epoch 1"))
    tracker.log_trial(running("4", alpha="0.125"))
    tracker.finish("failed")
    runs = {run.data.tags["octnas.trial_id"]: run for run in _runs(client, "three", "trial")}
    assert {key: run.info.status for key, run in runs.items()} == {
        "1": "FINISHED",
        "2": "FINISHED",
        "3": "FAILED",
        "4": "KILLED",
    }
    assert runs["2"].data.tags["octnas.state"] == "stopped"
    assert runs["2"].data.tags["octnas.reason"] == "rung 1"
    assert runs["1"].data.tags["octnas.yardstick"] == "uniform-0.5"
    names = {key: run.data.tags["mlflow.runName"] for key, run in runs.items()}
    assert (names["1"], names["2"]) == ("1 uniform-0.5 resnet18", "2 resnet18")
    assert runs["3"].data.tags["octnas.reason"] == "loss is nan in epoch 1"
    assert "accuracy" not in runs["3"].data.metrics
    assert _runs(client, "three", "search")[0].info.status == "FAILED"


def test_a_search_made_anew_under_a_deleted_name_is_another_run(client: Any, uri: str) -> None:
    first = Tracker(uri).start_search(header("four"))
    second = Tracker(uri).start_search(header("four", created="2026-11-02T00:00:00+00:00"))
    assert first != second


def test_the_front_is_shown(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    run_id = tracker.start_search(header("five"))
    tracker.log_front(REPORT)
    tracker.log_front(REPORT)
    run = client.get_run(run_id)
    experiment = client.get_experiment_by_name("octnas")
    note = run.data.tags["mlflow.note.content"].split("\n\n")
    assert (note[1], note[3]) == ("**Best: trial 1**.", "All accuracies are of one seed.")
    assert note[2] == f"![The front](get-artifact?path=front-small.png&run_uuid={run_id})"
    page = f"#/experiments/{experiment.experiment_id}/runs"
    assert f"({page}/{run.info.run_id}/artifacts/front.html?workflowType=machine_learning)" in note[0]
    assert f"({page}?workflowType=machine_learning&viewStateShareKey=octnas)" in note[0]
    assert (
        f"({page}?workflowType=machine_learning&viewStateShareKey=octnas-five&compareRunsMode=CHART)"
        in note[0]
    )
    charts = json.loads(experiment.tags["mlflow.sharedViewState.octnas-five"])["compareRunCharts"]
    assert [(each["xaxis"]["key"], each["yaxis"]["key"]) for each in charts if "xaxis" in each] == [
        ("gflops", "accuracy")
    ]
    view = json.loads(experiment.tags["mlflow.sharedViewState.octnas"])
    assert {"metrics.`accuracy`", "metrics.`gflops`", "metrics.`latency_ms`", "tags.`octnas.state`"} <= set(
        view["selectedColumns"]
    )
    assert run.data.metrics["hypervolume"] == 0.41
    assert run.data.metrics["shared_tau"] == 0.62
    assert run.data.metrics["supernet_accuracy/resnet18"] == 0.7
    for name, content in REPORT.files.items():
        data = Path(client.download_artifacts(run_id, name)).read_bytes()
        assert data == (content if isinstance(content, bytes) else content.encode())


def test_trials_say_whether_they_are_on_the_front_and_only_news_cost_a_call(
    client: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    told: list[tuple[str, str]] = []
    set_tag = MlflowClient.set_tag

    def noted(self: Any, run_id: str, key: str, value: str, **more: Any) -> Any:
        if key == "octnas.on_front":
            told.append((run_id, value))
        return set_tag(self, run_id, key, value, **more)

    monkeypatch.setattr(MlflowClient, "set_tag", noted)
    tracker = Tracker(uri)
    parent = tracker.start_search(header("members"))
    for trial_id in ("1", "2", "3"):
        tracker.log_trial(complete(trial_id))
    links = tracker.links
    assert links is not None
    assert (links.run_id, set(links.trials)) == (parent, {"1", "2", "3"})
    runs = links.trials
    tracker.log_front(replace(REPORT, front=("1", "2")))
    tracker.log_front(replace(REPORT, front=("1", "2")))
    tracker.log_trial(complete("2", accuracies=(0.6, 0.7, 0.8)))
    resumed = Tracker(uri)
    resumed.start_search(header("members"))
    resumed.log_front(replace(REPORT, front=("2", "3")))
    assert told[:2] == [(runs["1"], "true"), (runs["2"], "true")]
    assert sorted(told[2:]) == sorted([(runs["1"], "false"), (runs["3"], "true")])
    experiment = client.get_experiment_by_name("octnas").experiment_id
    query = "tags.octnas.on_front = 'true' and metrics.accuracy > 0.5 and tags.octnas.state = 'complete'"
    query += " and params.backbone = 'resnet18' and tags.octnas.search = 'members'"
    found = client.search_runs([experiment], query, order_by=["metrics.accuracy DESC"])
    assert [run.data.tags["octnas.trial_id"] for run in found] == ["2", "3"]


def test_what_the_machine_did_is_on_the_searchs_run(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    run_id = tracker.start_search(header("machine"))
    start = client.get_run(run_id).info.start_time
    samples = [Sample(start + 10_000, {"system/cpu": 5.0}), Sample(start + 20_400, {"system/cpu": 7.0})]
    tracker.log_samples(samples)
    history = client.get_metric_history(run_id, "system/cpu")
    assert [(each.step, each.timestamp - start, each.value) for each in history] == [
        (10, 10_000, 5.0),
        (20, 20_400, 7.0),
    ]


def test_further_seeds_are_numbers_of_the_same_child(client: Any, uri: str) -> None:
    tracker = Tracker(uri)
    tracker.start_search(header("seeds"))
    record = complete("1")
    tracker.log_trial(record)
    (run,) = _runs(client, "seeds", "trial")
    assert not {"accuracy_seed_mean", "test_accuracy_mean"} & run.data.metrics.keys()
    record = record.with_seed(1000, 0.71, 0.70)
    tracker.log_trial(record)
    (run,) = _runs(client, "seeds", "trial")
    assert run.data.metrics["accuracy_seed_mean"] == 0.71
    assert "accuracy_seed_sd" not in run.data.metrics
    record = record.with_seed(1001, 0.73, 0.69).with_seed(1002, 0.75, 0.68)
    resumed = Tracker(uri)
    resumed.start_search(header("seeds"))
    resumed.log_trial(record)
    resumed.log_trial(record)
    (run,) = _runs(client, "seeds", "trial")
    found = {name: run.data.metrics[name] for name in ("accuracy_seed_mean", "accuracy_seed_sd")}
    assert found == pytest.approx({"accuracy_seed_mean": 0.73, "accuracy_seed_sd": 0.02})
    assert run.data.metrics["test_accuracy_mean"] == pytest.approx(0.69)
    assert run.data.metrics["test_accuracy_sd"] == pytest.approx(0.01)
    history = client.get_metric_history(run.info.run_id, "accuracy_seed_mean")
    assert [(point.step, point.value) for point in history] == [(1, 0.71), (3, pytest.approx(0.73))]
    assert run.data.tags["octnas.confirm_seeds"] == "1000 1001 1002"
    assert run.data.metrics["accuracy"] == 0.7, "the search's own seed stays"
    assert run.info.status == "FINISHED"


def test_the_hypervolume_is_a_curve_that_goes_on_after_a_resume(client: Any, uri: str) -> None:
    first = Tracker(uri)
    run_id = first.start_search(header("curve"))
    first.log_front(replace(REPORT, hypervolume=0.3, hypervolumes=(0.2, 0.3)))
    assert client.get_run(run_id).data.metrics["hypervolume"] == 0.3
    resumed = Tracker(uri)
    resumed.start_search(header("curve"))
    claim = {"claim_difference_points": 1.5, "claim_low_points": 1.0, "claim_high_points": 2.0}
    report = replace(
        REPORT, hypervolume=0.41, hypervolumes=(0.2, 0.3, 0.3, 0.41), claim=claim, outcome="beats"
    )
    resumed.log_front(report)
    resumed.log_front(report)
    history = client.get_metric_history(run_id, "hypervolume")
    assert sorted((point.step, point.value) for point in history) == [
        (1, 0.2),
        (2, 0.3),
        (3, 0.3),
        (4, 0.41),
    ]
    run = client.get_run(run_id)
    assert run.data.metrics["hypervolume"] == 0.41
    assert {name: run.data.metrics[name] for name in claim} == claim
    assert run.data.tags["octnas.claim"] == "beats"


def test_training_export_and_registration(client: Any, uri: str, tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    parent = Tracker(uri).start_search(header("six"))
    tracker = Tracker(uri)
    trained = tracker.log_training(
        header("six"),
        complete("1"),
        scale="full",
        epochs=2,
        accuracy=0.9,
        test_accuracy=0.88,
        scores=(score(1, 0.8), score(2, 0.9)),
    )
    run = client.get_run(trained)
    assert (run.data.tags["octnas.kind"], run.data.tags["mlflow.parentRunId"]) == ("train", parent)
    assert (run.data.metrics["accuracy"], run.data.metrics["test_accuracy"]) == (0.9, 0.88)
    assert run.data.params["scale"] == "full"

    shape = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("image", "logits")
    ]
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["logits"])], "net", shape[:1], shape[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(tmp_path / "model.onnx"))
    (tmp_path / "README.md").write_text("card")
    exported = tracker.log_export(
        header("six"),
        complete("1"),
        training="full",
        metrics={"accuracy": 0.9, "max_abs_difference": 1e-6},
        files=[tmp_path / "README.md"],
        tags={"octnas.device": "a processor, 2 cores"},
    )
    run = client.get_run(exported)
    assert run.data.tags["octnas.device"] == "a processor, 2 cores"
    assert (run.data.tags["octnas.kind"], run.data.tags["mlflow.parentRunId"]) == ("export", parent)
    assert Path(client.download_artifacts(exported, "README.md")).read_text() == "card"

    example = np.zeros((2, 3), np.float32)
    versions = [
        tracker.register(
            "octnas-six",
            tmp_path / "model.onnx",
            run_id=exported,
            inputs=example,
            outputs=example,
            tags={"octnas.training": "full"},
            card=f"# {number}",
            alias="best",
        )
        for number in range(2)
    ]
    assert versions == ["1", "2"]
    version = client.get_model_version("octnas-six", "2")
    assert (version.run_id, version.description) == (exported, "# 1")
    assert version.tags["octnas.training"] == "full"
    assert client.get_model_version_by_alias("octnas-six", "best").version == version.version
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.models import Model

    source = version.source.removeprefix("file://")
    if not uri.startswith("sqlite"):
        mlflow.set_tracking_uri(uri)
        source = download_artifacts(artifact_uri=version.source, dst_path=str(tmp_path))
    signature = Model.load(source).signature
    assert signature.inputs.to_dict()[0]["tensor-spec"] == {"dtype": "float32", "shape": (-1, 3)}
    loaded = onnx.load(str(Path(source) / "model.onnx"))
    assert loaded.graph.node[0].op_type == "Relu"


def test_a_store_that_breaks_later_is_a_tracking_error(tmp_path: Path) -> None:
    tracker = Tracker(f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "mlflow.db").write_text("no database any more" * 50)
    with pytest.raises(TrackingError, match=r"the tracking store sqlite:///.*mlflow.db failed: ") as caught:
        tracker.start_search(header("seven"))
    assert "\n" not in str(caught.value)


def test_a_ranking_is_a_child_of_its_search_with_its_figures_and_files(
    client: Any, uri: str, tmp_path: Path
) -> None:
    tracker = Tracker(uri)
    parent = tracker.start_search(header("ranked"))
    picture = tmp_path / "rank.png"
    picture.write_bytes(b"\x89PNG")
    scratch = {"tau": 0.7, "tau_interval": [0.4, 0.9], "spearman": 0.8, "spearman_interval": None}
    document = {
        "models": 16,
        "seeds": 2,
        "full_epochs": 12,
        "ceiling": 0.85,
        "ceiling_spearman": None,
        "noise_points": 0.5,
        "signal_points": 1.5,
        "proxies": {"scratch": scratch},
    }
    tracker.log_rank(header("ranked"), document, [picture])
    (run,) = _runs(client, "ranked", "rank")
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.info.status == "FINISHED"
    assert run.data.params == {"models": "16", "seeds": "2", "full_epochs": "12"}
    assert run.data.metrics == {
        "ceiling": 0.85,
        "noise_points": 0.5,
        "signal_points": 1.5,
        "tau/scratch": 0.7,
        "tau_low/scratch": 0.4,
        "tau_high/scratch": 0.9,
        "spearman/scratch": 0.8,
    }
    assert Path(client.download_artifacts(run.info.run_id, "rank.png")).read_bytes() == b"\x89PNG"
