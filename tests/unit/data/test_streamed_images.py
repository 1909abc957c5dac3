"""Streaming gives what memory gives, skips and names damaged files, and gives up above 1 %."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from octnas.data import ImageSet, MemorySplit, StreamedSplit, load_images
from octnas.data.reading import allowed_damaged
from octnas.errors import DataError
from octnas.train.recalibrate import calibration_batches
from octnas.train.speed import Mode


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for part, count in (("train", 150), ("val", 10)):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (10, 12, 3), np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{i:03d}.png")
    return root


def both(folder: Path) -> tuple[ImageSet, ImageSet]:
    return load_images(str(folder), size=8), load_images(str(folder), size=8, memory_limit=0)


def broken_copy(split: StreamedSplit, folder: Path, where: Path, indices: list[int]) -> StreamedSplit:
    """The same split over a copy of the folder in which the files at `indices` are damaged."""
    for index in range(len(split)):
        source = Path(split.file(index))
        target = where / source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"damaged" if index in indices else source.read_bytes())
    return StreamedSplit(
        root=str(where), paths=split.paths, labels=split.labels, size=8, channels=3, workers=0
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_equals_memory(folder: Path, workers: int) -> None:
    kept, streamed = both(folder)
    assert isinstance(kept.train, MemorySplit)
    assert isinstance(streamed.train, StreamedSplit)
    streamed.train.workers = workers
    order = np.random.default_rng(2).permutation(len(kept.train))
    pairs = zip(
        kept.train.batches(32, order=order, drop_last=True),
        streamed.train.batches(32, order=order, drop_last=True),
        strict=True,
    )
    for (images, labels), (same, too) in pairs:
        assert torch.equal(images, same)
        assert torch.equal(labels, too)
        assert same.is_contiguous(memory_format=torch.channels_last)
        assert same.stride() == images.stride()


def test_facts_of_a_streamed_set(folder: Path) -> None:
    kept, streamed = both(folder)
    assert streamed.mean == pytest.approx(kept.mean, abs=1e-12)  # all 300 images are in the sample
    assert streamed.std == pytest.approx(kept.std, abs=1e-12)
    assert streamed.fingerprint == both(folder)[1].fingerprint != kept.fingerprint
    assert np.array_equal(streamed.val.labels, kept.val.labels)


def test_subset_and_take_equal_memory(folder: Path) -> None:
    kept, streamed = both(folder)
    for one, other in (
        (kept.train.subset(20, 3), streamed.train.subset(20, 3)),
        (kept.val.take(np.array([4, 0])), streamed.val.take(np.array([4, 0]))),
    ):
        (images, labels), (same, too) = next(one.batches(20)), next(other.batches(20))
        assert torch.equal(images, same)
        assert torch.equal(labels, too)


def test_a_streamed_split_pickles_small(folder: Path) -> None:
    split = both(folder)[1].train
    again = pickle.loads(pickle.dumps(split))
    assert again.file(7) == split.file(7)
    assert len(pickle.dumps(split)) < 20_000


def test_the_global_generator_is_not_touched(folder: Path) -> None:
    split = both(folder)[1].val
    split.workers = 0
    state = torch.get_rng_state()
    assert sum(len(labels) for _, labels in split.batches(8)) == 20
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("visited", "of", "allowed"),
    [
        (300, 300, 3),
        (199, 199, 1),
        (12_500, 100_000, 166),  # 125, and four of 10.4
        (512, 1_280_000, 14),  # 5.12, and four of 2.25
        (250_000, 100_000, 2_500),  # several passes
        (0, 0, 0),
    ],
)
def test_a_sample_may_show_more_than_one_percent(visited: int, of: int, allowed: int) -> None:
    assert allowed_damaged(visited, of) == allowed


def test_samples_of_a_set_with_fewer_damaged_files_pass() -> None:
    rng = np.random.default_rng(0)
    shown = rng.hypergeometric(800, 99_200, 12_500, size=8 * 110)  # 0.8 %, of 8 workers in 110 epochs
    assert (shown > 125).any()
    assert shown.max() <= allowed_damaged(12_500, 100_000)


@pytest.mark.filterwarnings("ignore:skipped the damaged image")
def test_a_sample_knows_what_it_was_drawn_from(folder: Path, tmp_path: Path) -> None:
    split = broken_copy(both(folder)[1].train, folder, tmp_path, [3, 40, 299])
    sample = split.take(np.array([3, *range(50, 90)]))  # 1 of 41 is more than 1 %
    with pytest.raises(DataError, match="1 of 41 read"):
        list(sample.batches(41))
    sample.drawn_from = len(split)
    assert sum(len(labels) for _, labels in sample.batches(41)) == 40
    drawn = split.subset(100, 0).subset(50, 0).cropped(1).take(np.arange(10))
    assert drawn.drawn_from == 300


@pytest.mark.filterwarnings("ignore:skipped the damaged image")
def test_statistics_are_estimated_beside_damaged_files(folder: Path, tmp_path: Path) -> None:
    images = both(folder)[1]
    split = broken_copy(images.train, folder, tmp_path, [3, 140, 299])
    mode = Mode(device=torch.device("cpu"), precision="fp32")
    batches = calibration_batches(split, images, mode, images=300, batch_size=150)
    assert [len(each) for each in batches] == [150]  # one of each 150 is damaged
    everything = calibration_batches(split, images, mode, images=300, batch_size=99)
    assert [len(each) for each in everything] == [99] * 3


@pytest.mark.parametrize("workers", [0, 1])
def test_up_to_one_percent_damaged_is_skipped_and_named(folder: Path, tmp_path: Path, workers: int) -> None:
    kept, streamed = both(folder)
    split = broken_copy(streamed.train, folder, tmp_path, [3, 40, 299])
    split.workers = workers
    with pytest.warns(UserWarning, match=r"skipped the damaged image .*\.png") as named:
        batches = list(split.batches(50))
    assert sorted(split.damaged) == sorted(split.file(index) for index in (3, 40, 299))
    assert len(named) == 3
    whole = np.delete(np.arange(300), [3, 40, 299])
    images = torch.cat([images for images, _ in batches]).permute(0, 2, 3, 1).numpy()
    assert np.array_equal(images, kept.train.images[whole])
    assert torch.cat([labels for _, labels in batches]).tolist() == kept.train.labels[whole].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the second pass names nothing again
        assert sum(len(labels) for _, labels in split.batches(50)) == 297


@pytest.mark.filterwarnings("ignore:skipped the damaged image")
def test_above_one_percent_damaged_is_an_error_that_names_some(folder: Path, tmp_path: Path) -> None:
    split = broken_copy(both(folder)[1].train, folder, tmp_path, [3, 4, 5, 299])
    with pytest.raises(DataError, match=r"at most 1 % .* 4 of 300 .*a/003\.png.*a/004\.png.*a/005\.png"):
        list(split.batches(50))


@pytest.mark.filterwarnings("ignore:skipped the damaged image")
def test_a_batch_of_damaged_files_only_is_left_out(folder: Path, tmp_path: Path) -> None:
    split = broken_copy(both(folder)[1].train, folder, tmp_path, [10, 11])
    sizes = [len(labels) for _, labels in split.batches(2)]
    assert sizes == [2] * 149
