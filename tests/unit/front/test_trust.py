"""What `octnas rank` makes of its measurements: agreement, ceiling, warnings, table, picture."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from rich.console import Console
from scipy import stats

from octnas.architecture import Architecture
from octnas.front.trust import Measured, measured, trust_document
from octnas.front.trust_png import rank_png
from octnas.front.trust_text import rank_text
from octnas.record import EpochScore, SharedScore
from octnas.record.ranking import SHARED, SHARED_LOSS, Kind, Model, Ranked, Training

EPOCHS: dict[Kind, int] = {"scratch": 4, "warm": 1, "full": 3}
SEEDS = (2000, 2001)


def _score(epoch: int, accuracy: float, train_loss: float = 1.0) -> EpochScore:
    return EpochScore(
        epoch=epoch,
        accuracy=accuracy,
        loss=1.0,
        train_loss=train_loss,
        seconds=1.0,
        train_seconds=1.0,
        images_per_second=1.0,
    )


def _ranked(count: int = 12, *, noise: float = 0.01) -> Ranked:
    """Two backbones; the proxy from scratch knows the truth but for its first epoch."""
    rng = np.random.default_rng(0)
    ranked = Ranked()
    for number in range(count):
        backbone = ("resnet18", "resnet26")[number % 2]
        architecture = Architecture.uniform(backbone, alpha=f"{number}/64", downsample="pooled")
        model = Model(architecture=architecture, gflops=2.0 - number / 64, params=1000 + number % 2)
        ranked.models.append(model)
        true = 0.6 + 0.02 * number
        for seed in SEEDS:
            key = Training(kind="full", digest=model.digest, seed=seed, epochs=3)
            ranked.trainings[key] = tuple(_score(n, true + noise * rng.normal()) for n in (1, 2, 3))
        key = Training(kind="scratch", digest=model.digest, seed=0, epochs=4)
        ranked.trainings[key] = tuple(
            _score(n, float(rng.uniform()) if n == 1 else true - 0.1, train_loss=1 - true + number % 3 / 10)
            for n in (1, 2, 3, 4)
        )
        ranked.values[model.digest] = {"synflow": -true, "grad-norm": 1.0}
    return ranked


def test_shared_scores_are_smoothed_through_the_search_s_scores_and_these() -> None:
    ranked, rng = _ranked(), np.random.default_rng(1)
    points: dict[str, list[tuple[float, float]]] = {"resnet18": [], "resnet26": []}
    for model in ranked.models:
        loss = float(rng.uniform(0.5, 1.0))
        points[model.architecture.backbone].append((loss, 0.9 - 0.3 * loss + 0.01 * float(rng.normal())))
        ranked.values[model.digest] |= dict(
            zip(("shared-loss", "shared"), points[model.architecture.backbone][-1], strict=True)
        )
    kept = [
        SharedScore(
            architecture=Architecture.uniform("resnet18", alpha=0.5), accuracy=0.7 - 0.01 * number, loss=0.6
        )
        for number in range(4)
    ]
    found = measured(ranked, seed=0, full_seeds=SEEDS, epochs=EPOCHS, rungs=(1, 2), shared=kept)
    assert "shared-loss" not in found.proxies
    losses, accuracies = np.array([*points["resnet18"], *((0.6, each.accuracy) for each in kept)]).T
    line = np.polyfit(losses, accuracies, 1)
    own = np.array(points["resnet18"])
    smoothed = np.array(found.proxies["shared-smoothed"], dtype=float)
    assert smoothed[::2] == pytest.approx(np.polyval(line, own[:, 0]))
    # Six scores of the other backbone draw no line: theirs stay.
    assert smoothed[1::2] == pytest.approx(np.array(points["resnet26"])[:, 1])
    assert found.proxies["shared"][::2] == pytest.approx(own[:, 1].tolist())


def _found(ranked: Ranked) -> Measured:
    return measured(ranked, seed=0, full_seeds=SEEDS, epochs=EPOCHS, rungs=(1, 2))


def _document(ranked: Ranked, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"name": "first", "full_seeds": SEEDS, "epochs": EPOCHS, "ranked_by": ["scratch"]}
    document = trust_document(_found(ranked), ranked, **{**given, **changes})
    return {**document, "picture": "rank.png"}


def test_each_proxy_is_set_against_the_mean_of_full_training() -> None:
    ranked = _ranked()
    document = _document(ranked)
    assert list(document["proxies"]) == [
        "scratch-1", "scratch-2", "scratch", "training-losses", "gflops", "params", "synflow", "grad-norm",
    ]  # fmt: skip
    means = [
        np.mean([ranked.scores("full", model.digest, seed, 3)[-1].accuracy for seed in SEEDS])  # type: ignore[index]
        for model in ranked.models
    ]
    losses = [
        -sum(score.train_loss for score in ranked.scores("scratch", model.digest, 0, 4) or ())
        for model in ranked.models
    ]
    found = document["proxies"]
    assert found["training-losses"]["tau"] == pytest.approx(stats.kendalltau(losses, means).statistic)
    assert found["training-losses"]["spearman"] == pytest.approx(stats.spearmanr(losses, means).statistic)
    assert found["scratch"]["tau"] == found["scratch-2"]["tau"] > 0.9
    assert abs(found["scratch-1"]["tau"]) < 0.6
    assert found["synflow"]["tau"] == -found["scratch"]["tau"] == found["gflops"]["tau"]
    assert found["grad-norm"]["tau"] is None
    assert found["scratch"]["share_of_ceiling"] == found["scratch"]["tau"] / document["ceiling"]
    assert document["noise_points"] == pytest.approx(1.0, rel=0.6)
    json.dumps(document, allow_nan=False)


def test_an_architecture_without_all_seeds_is_left_out_and_a_proxy_may_know_fewer() -> None:
    ranked = _ranked()
    lacking = ranked.models[3].digest
    del ranked.trainings[Training(kind="full", digest=lacking, seed=2001, epochs=3)]
    for model in ranked.models[:6]:
        key = Training(kind="warm", digest=model.digest, seed=0, epochs=1)
        ranked.trainings[key] = (_score(1, 0.5 + model.gflops / 10),)
    found = _found(ranked)
    assert lacking not in found.digests
    document = _document(ranked)
    assert document["models"] == 11
    assert document["proxies"]["warm"]["count"] == 5
    assert document["proxies"]["warm"]["tau"] < 0
    assert document["proxies"]["scratch"]["count"] == 11


def test_one_seed_gives_no_ceiling() -> None:
    ranked = _ranked()
    found = measured(ranked, seed=0, full_seeds=SEEDS[:1], epochs=EPOCHS, rungs=())
    document = trust_document(
        found, ranked, name="first", full_seeds=SEEDS[:1], epochs=EPOCHS, ranked_by=["scratch"]
    )
    assert document["ceiling"] is None
    assert document["proxies"]["scratch"]["share_of_ceiling"] is None
    assert "--seeds 2" in _printed(document, 80)


def test_a_warning_of_the_proxies_that_the_search_ranks_by_and_of_no_other() -> None:
    ranked = _ranked()
    assert _document(ranked)["warnings"] == []
    for model in ranked.models:
        ranked.values[model.digest]["shared"] = 0.5 - model.gflops % 0.05
    document = _document(ranked, ranked_by=["shared", "scratch"])
    (sentence,) = document["warnings"]
    assert f"{document['proxies']['shared']['tau']:.2f}" in sentence
    assert "for shared weights, by which the search ranks" in sentence
    assert f"about {document['ceiling']:.2f}" in sentence
    both = _document(ranked, ranked_by=["shared", "scratch-1"])
    assert "for shared weights and " in " ".join(both["warnings"])
    assert " ".join(sentence.split()) in " ".join(_printed(document, 80).split())


def _printed(document: dict[str, Any], width: int) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(rank_text({"picture": None, **document}))
    text = file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    return text


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_names_every_proxy_in_one_line_with_its_figures(width: int) -> None:
    document = _document(_ranked(), left_out=["Left out: shared weights."])
    lines = _printed(document, width).splitlines()
    for each in document["proxies"].values():
        (line,) = [line for line in lines if line.strip().startswith(each["label"])]
        if each["tau"] is not None:
            low, high = each["tau_interval"]
            assert f"{each['tau']:.2f} [{low:.2f}, {high:.2f}]" in line
    joined = " ".join(" ".join(lines).split())
    assert f"Ceiling: tau {document['ceiling']:.2f} [" in joined
    assert "Left out: shared weights." in joined


def test_the_picture_has_a_panel_for_each_proxy() -> None:
    few = _document(_ranked())
    few["proxies"] = {name: few["proxies"][name] for name in ("scratch", "gflops")}
    sizes = []
    for document in (few, _document(_ranked())):
        content = rank_png(document)
        assert content.startswith(b"\x89PNG")
        sizes.append((int.from_bytes(content[16:20]), int.from_bytes(content[20:24])))
    (width, height), (wide, high) = sizes
    assert wide == pytest.approx(1.5 * width, abs=2)
    assert high > 2 * height


def test_accuracies_are_drawn_in_per_cent_and_parameters_in_millions(monkeypatch: pytest.MonkeyPatch) -> None:
    ranked = _ranked()
    for number, model in enumerate(ranked.models):
        ranked.values[model.digest] |= {SHARED: 0.3 + number / 100, SHARED_LOSS: 2.0 - number / 50}
    document = _document(ranked)
    drawn: dict[str, list[float]] = {}

    def errorbar(axes: Axes, xs: list[float], ys: list[float], **_options: object) -> None:
        drawn.setdefault(f"panel {len(axes.figure.axes)}", []).extend(xs)

    monkeypatch.setattr(Axes, "errorbar", errorbar)
    rank_png(document)
    for panel, xs in zip(document["proxies"], drawn.values(), strict=True):
        scale = 1e-6 if panel == "params" else 100 if panel.startswith(("shared", "scratch", "warm")) else 1
        scores = [scale * each["proxies"][panel] for each in document["architectures"]]
        assert sorted(xs) == pytest.approx(sorted(scores)), panel


@pytest.mark.parametrize(("count", "said"), [(1, "1 epoch) with"), (2, "2 epochs) with")])
def test_one_epoch_is_one_epoch(count: int, said: str) -> None:
    assert said in " ".join(_printed({**_document(_ranked()), "full_epochs": count}, 120).split())
