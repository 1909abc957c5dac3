"""Streaming gives what memory gives; random places repeat; short and damaged clips are named."""

from __future__ import annotations

import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_files import numbers, write_video

from octnas.data import ImageSet, MemoryClips, load_clips
from octnas.data.moved import files_fingerprint, files_of, folder_of, moved
from octnas.data.streamed_clips import StreamedClips
from octnas.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 training and 10 validation videos of two classes, 16 frames each."""
    root = tmp_path_factory.mktemp("clips")
    for i in range(10):
        write_video(root / f"{i}.mkv", 16, codec="ffv1", size=(12, 10), first=2 * i)
    for part, count in (("train", 50), ("val", 5)):
        for name in ("a", "b"):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                shutil.copyfile(root / f"{(i + (name == 'b')) % 10}.mkv", root / part / name / f"{i:03d}.mkv")
    return root


def load(folder: Path, memory_limit: int = 2**30, **options: object) -> ImageSet:
    return load_clips(
        str(folder),
        **{"frames": 4, "size": 8, "channels": 1, "memory_limit": memory_limit, **options},  # type: ignore[arg-type]
    )


def streamed(folder: Path, **options: object) -> StreamedClips:
    split = load(folder, memory_limit=0, **options).train
    assert isinstance(split, StreamedClips)
    return split


def clips_of(split: StreamedClips, size: int, order: np.ndarray | None = None) -> np.ndarray:
    return torch.cat([clips for clips, _ in split.batches(size, order=order)]).permute(0, 2, 3, 4, 1).numpy()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.filterwarnings("ignore:This DataLoader")
def test_streamed_validation_equals_memory(folder: Path, workers: int) -> None:
    kept, split = load(folder), load(folder, memory_limit=0).val
    assert isinstance(kept.val, MemoryClips)
    assert isinstance(split, StreamedClips)
    split.workers = workers
    order = np.array([9, 0, 4, 4, 7])
    for (clips, labels), (same, too) in zip(
        kept.val.batches(2, order=order, drop_last=True),
        split.batches(2, order=order, drop_last=True),
        strict=True,
    ):
        assert torch.equal(clips, same)
        assert torch.equal(labels, too)
        assert same.stride() == clips.stride()
        assert same.permute(0, 2, 3, 4, 1).is_contiguous()
    (clips, _), (same, _) = next(kept.val.subset(6, 3).batches(6)), next(split.subset(6, 3).batches(6))
    assert torch.equal(clips, same)


def test_facts_of_a_streamed_set(folder: Path) -> None:
    kept, split = load(folder), load(folder, memory_limit=0)
    assert split.mean == pytest.approx(kept.mean, abs=1e-12)  # all 100 clips are in the sample
    assert split.fingerprint == load(folder, memory_limit=0).fingerprint
    assert split.fingerprint != load(folder, memory_limit=0, frames=5).fingerprint
    assert (split.frames, split.size, split.channels) == (4, 8, 1)


@pytest.mark.parametrize("sampling", ["uniform", "dense"])
def test_training_takes_random_frames_that_repeat(folder: Path, sampling: str) -> None:
    split = streamed(folder, sampling=sampling)
    split.workers = 0
    order = np.random.default_rng(0).permutation(100)
    first = clips_of(split, 10, order)
    places = (
        np.array([numbers(clip) for clip in first])
        - np.array([2 * ((i % 50 + i // 50) % 10) for i in order])[:, None]
    )
    assert len({tuple(row) for row in places}) > (30 if sampling == "uniform" else 8)
    if sampling == "uniform":
        assert (places // 4 == np.arange(4)).all()
    else:
        assert (np.diff(places, axis=1) == 2).all()
    again, other = streamed(folder, sampling=sampling), streamed(folder, sampling=sampling, seed=1)
    again.workers, other.workers = 1, 0
    # the same clips in the same batches, whoever decodes them and wherever a pass begins
    assert np.array_equal(clips_of(again, 10, order), first)
    assert np.array_equal(clips_of(again, 10, order[50:]), first[50:])
    assert not np.array_equal(clips_of(other, 10, order), first)
    assert not np.array_equal(clips_of(split, 10, order[::-1])[::-1], first)


def test_a_streamed_split_pickles_small(folder: Path) -> None:
    split = streamed(folder)
    again = pickle.loads(pickle.dumps(split))
    assert again.file(7) == split.file(7)
    assert len(pickle.dumps(split)) < 8_000


def test_the_global_generators_are_not_touched(folder: Path) -> None:
    split = streamed(folder)
    split.workers = 0
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    clips_of(split, 10)
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder / "train", tmp_path / "train")
    shutil.copytree(folder / "val", tmp_path / "val")
    return tmp_path


def passed(folder: Path, memory_limit: int) -> tuple[ImageSet, int]:
    """The set, and how many training clips a pass over it gives."""
    data = load(folder, memory_limit)
    return data, sum(len(labels) for _, labels in data.train.batches(32))


@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_up_to_one_percent_damaged_is_skipped_and_named(copied: Path, memory_limit: int) -> None:
    (copied / "train" / "a" / "003.mkv").write_bytes(b"")
    with pytest.warns(
        UserWarning, match=r"skipped the damaged clip .*003\.mkv: it is empty \(0 bytes\)"
    ) as named:
        data, total = passed(copied, memory_limit)
    assert total == 99
    assert len(named) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the second pass names nothing again
        assert sum(len(labels) for _, labels in data.train.batches(32)) == 99
    labels = np.concatenate([labels.numpy() for _, labels in data.train.batches(32)])
    assert np.bincount(labels).tolist() == [49, 50]


@pytest.mark.filterwarnings("ignore:skipped the damaged clip")
@pytest.mark.parametrize("memory_limit", [0, 2**30])
def test_above_one_percent_damaged_is_an_error_that_names_some(copied: Path, memory_limit: int) -> None:
    (copied / "train" / "a" / "003.mkv").write_bytes(b"")
    (copied / "train" / "b" / "004.mkv").write_text("wrong content under a right extension")
    with pytest.raises(
        DataError, match=r"at most 1 % of the clips may be damaged, but 2 of 100 .*003.*004"
    ) as error:
        load(copied, memory_limit)
    assert "\n" not in str(error.value)


def test_short_clips_are_named_once_and_kept(copied: Path) -> None:
    for name, frames in (("000", 1), ("001", 3)):
        write_video(copied / "train" / "a" / f"{name}.mkv", frames, codec="ffv1", size=(12, 10))
    with pytest.warns(UserWarning, match=r"000\.mkv is short: 1 frame where 4 are asked for") as named:
        data = load(copied)
    assert len(named) == 1  # both are in one batch
    assert "001.mkv is short: 3 frames where 4" in str(named[0].message)
    assert isinstance(data.train, MemoryClips)
    assert numbers(data.train.clips[0]) == [0, 0, 0, 0]
    assert numbers(data.train.clips[1]) == [0, 1, 1, 2]


def test_a_file_that_vanishes_counts_as_damaged(copied: Path) -> None:
    split = streamed(copied)
    split.workers = 0
    (copied / "train" / "a" / "003.mkv").unlink()
    with pytest.warns(UserWarning, match=r"003\.mkv: No such file or directory"):
        assert len(clips_of(split, 10)) == 99


def test_clips_that_were_moved_keep_their_fingerprint_until_they_change(folder: Path, tmp_path: Path) -> None:
    images = load(folder, memory_limit=0)
    assert files_fingerprint(images) == images.fingerprint
    shutil.copytree(folder, tmp_path / "there")
    there = moved(images, tmp_path / "there")
    assert folder_of(there) == tmp_path / "there"
    assert files_fingerprint(there) == images.fingerprint
    assert files_of(there) == files_of(images)
    assert len(files_of(there)) == 110
    (tmp_path / "there" / "val" / "b" / "004.mkv").write_bytes(b"another")
    assert files_fingerprint(there) != images.fingerprint
    kept = load(folder)
    assert folder_of(kept) is None
    assert moved(kept, tmp_path) is kept
