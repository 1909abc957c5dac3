"""Folders of videos: layouts, split files, and what is refused or left out."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from clip_files import numbers, write_video

from octnas.data import ImageSet, MemoryClips, load_clips
from octnas.errors import DataError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Thirty videos of four frames; video i begins with the number i."""
    root = tmp_path_factory.mktemp("made")
    for i in range(30):
        write_video(root / f"{i}.mkv", 4, codec="ffv1", size=(16, 16), first=i)
    return [root / f"{i}.mkv" for i in range(30)]


def put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def load(root: Path, **options: object) -> ImageSet:
    return load_clips(str(root), **{"frames": 4, "size": 16, "channels": 1, **options})  # type: ignore[arg-type]


def firsts(split: object) -> list[int]:
    """Numbers of the first frames of a split's clips: which videos they are."""
    assert isinstance(split, MemoryClips)
    return [numbers(clip)[0] for clip in split.clips]


def make_classes(root: Path, made: list[Path], counts: dict[str, int], start: int = 0) -> None:
    for name, count in counts.items():
        for _ in range(count):
            put(made[start], root / name / f"{start:03d}.mkv")
            start += 1


def test_folders_with_train_and_val(tmp_path: Path, made: list[Path]) -> None:
    make_classes(tmp_path / "train", made, {"a": 3, "b": 2})
    make_classes(tmp_path / "val", made, {"a": 1, "b": 2}, start=10)
    data = load(tmp_path)
    assert (data.classes, data.frames, data.size, data.channels) == (("a", "b"), 4, 16, 1)
    assert (firsts(data.train), data.train.labels.tolist()) == ([0, 1, 2, 3, 4], [0, 0, 0, 1, 1])
    assert (firsts(data.val), data.val.labels.tolist(), data.test) == ([10, 11, 12], [0, 1, 1], None)
    assert isinstance(data.train, MemoryClips)
    assert numbers(data.train.clips[2]) == [2, 3, 4, 5]
    pixels = data.train.clips / 255
    assert (data.mean, data.std) == (pytest.approx((pixels.mean(),)), pytest.approx((pixels.std(),)))
    assert data.origin == "a folder with its own train and val; 4 frames, uniform"


def test_one_folder_of_classes_is_split_by_seed(tmp_path: Path, made: list[Path]) -> None:
    make_classes(tmp_path, made, {"a": 10, "b": 10})
    data, again, other = load(tmp_path, seed=1), load(tmp_path, seed=1), load(tmp_path, seed=2)
    assert [np.bincount(s.labels).tolist() for s in (data.train, data.val, data.test) if s] == [
        [7, 7], [2, 2], [1, 1],
    ]  # fmt: skip
    assert sorted(firsts(data.train) + firsts(data.val) + firsts(data.test)) == list(range(20))
    assert data.fingerprint == again.fingerprint != other.fingerprint


def ucf(root: Path, made: list[Path], videos: Path, lists: Path) -> None:
    lists.mkdir(parents=True, exist_ok=True)
    (lists / "classInd.txt").write_text("1 Apply\n2 Brush\n")
    for fold, cut in ((1, 10), (2, 8)):
        train, test = [], []
        for number, name in enumerate(("Apply", "Brush")):
            for i in range(12):
                path = f"{name}/v_{name}_g{i // 2:02d}_c{i % 2}.mkv"
                put(made[12 * number + i], videos / path)
                (train if i < cut else test).append(f"{path} {number + 1}" if i < cut else path)
        (lists / f"trainlist{fold:02d}.txt").write_text("\n".join(train) + "\n")
        (lists / f"testlist{fold:02d}.txt").write_text("\n".join(test) + "\n")


@pytest.mark.parametrize("videos", ["", "UCF-101"])
@pytest.mark.parametrize("lists", ["", "ucfTrainTestlist"])
def test_ucf101(tmp_path: Path, made: list[Path], videos: str, lists: str) -> None:
    ucf(tmp_path, made, tmp_path / videos, tmp_path / lists)
    data = load(tmp_path)
    assert data.classes == ("Apply", "Brush")
    assert sorted(firsts(data.train) + firsts(data.val)) == [*range(10), *range(12, 22)]
    assert np.bincount(data.val.labels).tolist() == [2, 2]
    assert (firsts(data.test), [*np.array([0, 0, 1, 1])]) == ([10, 11, 22, 23], data.test.labels.tolist())  # type: ignore[union-attr]
    assert "trainlist01.txt; 20% of each class of train is validation (seed 0)" in data.origin
    second = load(tmp_path, fold=2)
    assert firsts(second.test) == [8, 9, 10, 11, 20, 21, 22, 23]
    with pytest.raises(DataError, match=r"list 3 of UCF-101 needs .*trainlist03\.txt, which does not exist"):
        load(tmp_path, fold=3)


def test_validation_takes_whole_groups_of_ucf101(tmp_path: Path, made: list[Path]) -> None:
    ucf(tmp_path, made, tmp_path, tmp_path)
    for seed in range(5):
        held_out = firsts(load(tmp_path, seed=seed).val)
        # clips of a group are cut from one video: 2 g and 2 g + 1 are made from the same
        assert held_out[::2] == [2 * (number // 2) for number in held_out[::2]]
        assert held_out[1::2] == [number + 1 for number in held_out[::2]]
        assert len(held_out) == 4


@pytest.mark.parametrize("place", ["{label}/", "{split}/{label}/", "{split}/", ""])
def test_kinetics(tmp_path: Path, made: list[Path], place: str) -> None:
    header, number = "label,youtube_id,time_start,time_end,split", 0
    for split, file, count in (("train", "train", 3), ("validate", "validate", 2), ("test", "test", 1)):
        rows = [header]
        for label in ("abseiling", "air drumming"):
            for _ in range(count):
                name = f"-id_{number}"
                rows.append(f'"{label}",{name},{number},{number + 10},{split}')
                folder = place.format(label=label, split=split)
                put(made[number], tmp_path / f"{folder}{name}_{number:06d}_{number + 10:06d}.mkv")
                number += 1
        (tmp_path / f"{file}.csv").write_text("\n".join(rows) + "\n")
    data = load(tmp_path)
    assert data.classes == ("abseiling", "air drumming")
    assert (firsts(data.train), data.train.labels.tolist()) == ([0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1])
    assert (firsts(data.val), data.val.labels.tolist()) == ([6, 7, 8, 9], [0, 0, 1, 1])
    assert firsts(data.test) == [10, 11]


def test_kinetics_test_list_without_labels_is_ignored(tmp_path: Path, made: list[Path]) -> None:
    rows = [f"{'ab'[i % 2]},v{i},0,10,train" for i in range(10)]
    (tmp_path / "train.csv").write_text("\n".join(["label,youtube_id,time_start,time_end,split", *rows]))
    (tmp_path / "test.csv").write_text("youtube_id,time_start,time_end,split\nx,0,10,test\n")
    for i in range(10):
        put(made[i], tmp_path / "videos" / f"v{i}.mkv")
    data = load(tmp_path)
    assert (len(data.train), len(data.val), data.test) == (8, 2, None)


def test_plain_lists(tmp_path: Path, made: list[Path]) -> None:
    for i in range(8):
        put(made[i], tmp_path / "all videos" / f"no {i}.mkv")
    for part, numbered in (("train", range(5)), ("val", range(5, 8))):
        lines = [f"all videos/no {i}.mkv {(2, 10)[i % 2]}" for i in numbered]
        (tmp_path / f"{part}.txt").write_text("\n".join(lines) + "\n\n")
    data = load(tmp_path)
    assert data.classes == ("2", "10")
    assert (firsts(data.train), data.train.labels.tolist()) == ([0, 1, 2, 3, 4], [0, 1, 0, 1, 0])
    assert (firsts(data.val), data.val.labels.tolist()) == ([5, 6, 7], [1, 0, 1])


def listed(root: Path, made: list[Path], there: int, missing: int) -> None:
    """`there` training lines that name one of two videos, `missing` that name none; two of validation."""
    for name in ("a", "b"):
        put(made[0], root / name / "v.mkv")
    lines = [f"{'ab'[i % 2]}/v.mkv {'ab'[i % 2]}" for i in range(there)]
    lines += [f"a/gone{i}.mkv a" for i in range(missing)]
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    (root / "val.txt").write_text("a/v.mkv a\nb/v.mkv b\n")


def test_missing_files_are_counted_in_one_line_up_to_one_percent(tmp_path: Path, made: list[Path]) -> None:
    listed(tmp_path, made, 394, 4)
    with pytest.warns(UserWarning, match="4 of the 400 files") as named:
        data = load(tmp_path)
    assert len(named) == 1
    assert str(named[0].message).endswith("a/gone0.mkv, a/gone1.mkv, a/gone2.mkv, ...; left out")
    assert (len(data.train), len(data.val)) == (394, 2)
    listed(tmp_path, made, 393, 5)
    with pytest.raises(DataError, match=r"5 of the 400 files .*a/gone0\.mkv.*; at most 1 % may be missing"):
        load(tmp_path)


def test_split_files_that_are_refused(tmp_path: Path, made: list[Path]) -> None:
    listed(tmp_path, made, 10, 0)
    (tmp_path / "val.txt").write_text("a/v.mkv z\n")
    with pytest.raises(DataError, match=r"gives a/v\.mkv the class z, which training lacks"):
        load(tmp_path)
    (tmp_path / "val.txt").write_text("a/v.mkv\n")
    with pytest.raises(DataError, match=r"val\.txt must be a path and a class, but one is 'a/v\.mkv'"):
        load(tmp_path)
    (tmp_path / "val.txt").write_text("a/v.mkv a\n")
    with pytest.raises(DataError, match=r"every class needs validation clips, but b has none"):
        load(tmp_path)
    (tmp_path / "val.txt").unlink()
    (tmp_path / "train.txt").write_text("a/v.mkv a\n" * 5)
    with pytest.raises(DataError, match=r"two classes or more, but train\.txt has only a"):
        load(tmp_path)
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"must be readable text, but .*train\.txt is not"):
        load(tmp_path)
    (tmp_path / "train.csv").write_text("label,youtube_id\na,b\n")
    with pytest.raises(DataError, match=r"train\.csv must have label, youtube_id, time_start, time_end"):
        load(tmp_path)


def test_other_suffixes_are_ignored_in_one_line(tmp_path: Path, made: list[Path]) -> None:
    make_classes(tmp_path, made, {"a": 4, "b": 4})
    for name in ("notes.txt", "more.txt", "thumb.jpg", ".hidden"):
        (tmp_path / "a" / name).write_text("no video")
    with pytest.warns(
        UserWarning, match=r"^ignored 3 files under .*, neither video nor volume \(\.txt, \.jpg\)$"
    ):
        assert len(load(tmp_path).train) == 4
    (tmp_path / "README.md").write_text("of no class")
    for path in (tmp_path / "a").iterdir():
        if path.suffix != ".mkv":
            path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(tmp_path)


def test_a_folder_in_which_nothing_fits_names_the_suffixes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "clip.mp5").write_text("wrong extension")
    with pytest.raises(DataError, match=r"every class needs clips, but .*a has none \(\.avi, .*\.mp4.*\.npy"):
        load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"must hold a folder of clips for each class, but has no folder"):
        load(tmp_path / "empty")


def test_classes_with_sides_are_not_mirrored(tmp_path: Path, made: list[Path]) -> None:
    make_classes(tmp_path / "one", made, {"push left": 3, "push right": 3})
    make_classes(tmp_path / "other", made, {"bow": 3, "bright lamp": 3})
    assert not load(tmp_path / "one").flip
    assert load(tmp_path / "other").flip
