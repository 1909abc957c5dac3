"""Shared scores in the pictures: a faint cloud behind the trials, on the same axes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from front_case import PROFILE, result, trial, whole
from page_case import of_some, page_of
from PIL import Image
from shared_run_case import shared_run

from octnas.architecture import Architecture
from octnas.front import SearchResult
from octnas.front.cloud import MOST_DRAWN
from octnas.front.describe import percent
from octnas.front.layers import backbone_colours, sort_layers
from octnas.front.picture import html_page
from octnas.front.png import png_bytes
from octnas.front.shared import Shared
from octnas.record import SharedScore


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTNAS_HOME", str(tmp_path_factory.mktemp("home") / "runs"))
        yield SearchResult.of(shared_run())


def with_scores(of: SearchResult, *scores: SharedScore) -> SearchResult:
    return replace(of, shared=Shared(asked=len(scores), scores=scores, supernets=(), predictor=None))


def score(
    accuracy: float, gflops: float | None = 1.5, backbone: str = "resnet18", **more: float
) -> SharedScore:
    architecture = Architecture.uniform(backbone, alpha="0.5", downsample="pooled")
    return SharedScore(architecture=architecture, accuracy=accuracy, loss=1.0, gflops=gflops, **more)


def test_each_score_is_a_dot_behind_all_else_in_its_backbones_colour(searched: SearchResult) -> None:
    cloud = page_of(searched).search["cloud"]["gflops"]
    layers, colours = sort_layers(searched), backbone_colours(searched)
    assert layers.cloud is not None
    assert len(cloud["points"]) == layers.cloud.inside
    for own, (cost, accuracy, colour, lines) in zip(layers.cloud.scores, cloud["points"], strict=True):
        assert cost == pytest.approx(own.gflops, rel=1e-5)
        assert accuracy == pytest.approx(own.accuracy, rel=1e-5)
        assert colour == colours[own.architecture.backbone]
        assert lines[0] == f"{100 * own.accuracy:.2f} % on shared weights"
        assert lines[2] == f"{own.architecture.backbone}, {own.gflops:.3f} GFLOPs, alphas by stage:"
        first = " ".join(f"{alpha:.3g}" for alpha in own.architecture.alphas[:2])
        assert lines[3].startswith(f"1: {first}")


def test_a_score_that_was_trained_names_its_trial_and_the_trial_its_score(searched: SearchResult) -> None:
    search = page_of(searched).search
    names = {each.architecture.digest: each.id for each in searched.trials}
    layers = sort_layers(searched)
    assert layers.cloud is not None
    points = search["cloud"]["gflops"]["points"]
    said = [lines[1] for *_, lines in points]
    trained = [names.get(each.architecture.digest) for each in layers.cloud.scores]
    assert said == [
        "not trained by itself" if trial_id is None else f"trained as trial {trial_id}"
        for trial_id in trained
    ]
    assert len(set(said)) > 10, "some were trained"
    scores = {each.id: each.shared_accuracy for each in searched.trials if each.shared_accuracy is not None}
    assert of_some(search, "shared") == pytest.approx(scores, rel=1e-5)
    assert search["proxy"] == "of the proxy, trained from scratch"


def test_the_legend_and_the_page_say_what_the_dots_are(searched: SearchResult) -> None:
    layers = sort_layers(searched)
    assert layers.cloud is not None
    page = page_of(searched)
    assert page.search["cloud"]["gflops"]["name"] == layers.cloud.name
    assert "300 scores on shared weights" in layers.cloud.name
    assert "Faint dots are shared scores, on the same axes" in page.words
    assert "Shared weights of shared" in page.words
    assert page.row["5"]["shared"] == percent(searched.trials[5].shared_accuracy)
    assert page.row["0"]["shared"] == ""
    assert sort_layers(whole()).cloud is None
    assert page_of(whole()).search["cloud"] is None
    assert page_of(with_scores(whole())).search["cloud"] is None
    assert "shared" not in page_of(whole()).row["5"]


def test_scores_far_from_the_trials_take_no_more_than_a_third_of_the_picture() -> None:
    alone = sort_layers(whole())
    for values in ([0.80, 0.87], [0.97, 0.87], [0.985, 0.98], [0.10, 0.30]):
        layers = sort_layers(with_scores(whole(), *map(score, values)))
        assert layers.low <= alone.low
        assert layers.high >= alone.high
        assert (alone.high - alone.low) / (layers.high - layers.low) >= 2 / 3 - 1e-9
    below = sort_layers(with_scores(whole(), score(0.10), score(0.86)))
    assert below.low == pytest.approx(0.86 - 0.02 * (alone.high - alone.low))
    assert below.high == alone.high
    assert below.cloud is not None
    assert (below.cloud.inside, below.cloud.outside) == (1, 1)
    assert below.cloud.name == "2 scores on shared weights, 1 beyond this range"
    far = sort_layers(with_scores(whole(), score(0.10), score(0.30)))
    assert (far.low, far.high) == (alone.low, alone.high)
    assert far.cloud is not None
    assert far.cloud.name == "2 scores on shared weights: 10.0 to 30.0 %, not in this range"
    near = sort_layers(with_scores(whole(), score(0.92)))
    assert (near.low, near.high) == (alone.low, alone.high)
    assert near.cloud is not None
    assert near.cloud.name == "1 score on shared weights"


def test_cheap_scores_widen_the_axis_of_cost_by_a_third_at_most() -> None:
    alone = sort_layers(whole())
    layers = sort_layers(with_scores(whole(), score(0.92, 0.9)))
    assert layers.right == alone.right
    assert layers.left < 0.9 < alone.left
    assert (alone.right - alone.left) / (layers.right - layers.left) >= 2 / 3 - 1e-9


def test_of_very_many_scores_each_so_many_th_is_drawn() -> None:
    many = [score(0.90 + 0.00001 * i) for i in range(2 * MOST_DRAWN + 1)]
    cloud = sort_layers(with_scores(whole(), *many)).cloud
    assert cloud is not None
    assert len(cloud.scores) <= MOST_DRAWN
    assert cloud.scores[1] == many[3]
    assert cloud.name == f"{len(cloud.scores):,} of {len(many):,} scores on shared weights"


def test_on_an_axis_of_latency_the_dots_stand_at_their_latency() -> None:
    trials = (trial("0", 1.0, 0.9, latency_ms=10.0), trial("1", 1.5, 0.95, latency_ms=20.0))
    found = result(*trials, budget=None, budget_ms=24.0, objective="latency", profile=PROFILE)
    known, unknown = score(0.92, 1.2, latency_ms=12.5), score(0.93, 1.3)
    cloud = sort_layers(with_scores(found, known, unknown)).cloud
    assert cloud is not None
    assert (cloud.scores, cloud.costs) == ((known,), (12.5,))
    clouds = page_of(with_scores(found, known, unknown)).search["cloud"]
    ((cost, accuracy, _, lines),) = clouds["latency"]["points"]
    assert (cost, accuracy) == (12.5, 0.92)
    assert "resnet18, 1.200 GFLOPs, 12.50 ms, alphas by stage:" in lines
    assert [point[:2] for point in clouds["gflops"]["points"]] == [[1.2, 0.92], [1.3, 0.93]]


def test_a_backbone_that_was_scored_only_has_a_colour_and_its_dimensions() -> None:
    found = with_scores(whole(), score(0.9, backbone="i3d_resnet18"))
    assert list(backbone_colours(found)) == ["resnet18", "resnet34", "resnet50", "i3d_resnet18"]
    assert list(backbone_colours(whole())) == ["resnet18", "resnet34", "resnet50"]
    assert found.mixed
    assert not whole().mixed


def test_scores_without_any_trial_fill_the_picture() -> None:
    layers = sort_layers(with_scores(result(), score(0.5, 1.2), score(0.6, 1.8)))
    assert layers.low < 0.5 < 0.6 < layers.high
    assert layers.left < 1.2 < 1.8 < layers.right
    assert layers.cloud is not None
    assert layers.cloud.inside == 2


def test_a_thousand_scores_do_not_make_the_page_heavy() -> None:
    rng = np.random.default_rng(0)
    architecture = Architecture.uniform("resnet50", alpha="0.25")
    many = [
        SharedScore(architecture=architecture, accuracy=0.9 + 0.03 * float(x), loss=1.0, gflops=1 + float(x))
        for x in rng.random(1000)
    ]
    more = len(html_page(with_scores(whole(), *many)).encode()) - len(html_page(whole()).encode())
    assert 50_000 < more < 600_000


def test_the_png_has_the_dots_and_says_what_they_are(searched: SearchResult) -> None:
    picture = np.asarray(Image.open(io.BytesIO(png_bytes(searched))).convert("RGB")).astype(int)
    without = replace(searched, shared=None)
    bare = np.asarray(Image.open(io.BytesIO(png_bytes(without))).convert("RGB")).astype(int)
    assert picture.shape == bare.shape == (1470, 1650, 3)

    def tinted(pixels: np.ndarray) -> int:
        """Pixels of a pale colour: far from grey, and light."""
        return int(((pixels.max(axis=2) - pixels.min(axis=2) > 25) & (pixels.min(axis=2) > 150)).sum())

    assert tinted(picture) > tinted(bare) + 3000
