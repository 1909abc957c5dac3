"""Which frames are taken, by value and by their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octnas.data.sampling import Sampling

STEADY = np.arange(0, 40 * 512, 512)
"""40 frames at a steady rate."""


def test_uniform_takes_the_middle_of_each_segment() -> None:
    assert Sampling(frames=8).choose(STEADY, 40 * 512).tolist() == [2, 7, 12, 17, 22, 27, 32, 37]
    assert Sampling(frames=1).choose(STEADY, 40 * 512).tolist() == [20]
    assert Sampling(frames=40).choose(STEADY, 40 * 512).tolist() == list(range(40))


def test_where_the_video_begins_and_its_unit_have_no_bearing() -> None:
    shifted = STEADY * 3.0 + 48_600
    assert Sampling(frames=8).choose(shifted, 48_600 + 120 * 512.0).tolist() == [2, 7, 12, 17, 22, 27, 32, 37]


def test_dense_takes_a_stride_in_the_middle() -> None:
    assert Sampling(frames=4, kind="dense").choose(STEADY, 40 * 512).tolist() == [16, 18, 20, 22]
    assert Sampling(frames=4, kind="dense", stride=3).choose(STEADY, 40 * 512).tolist() == [15, 18, 21, 24]


def test_short_videos_repeat_frames() -> None:
    two = np.array([0, 10])
    assert Sampling(frames=4).choose(two, 20).tolist() == [0, 0, 1, 1]
    assert Sampling(frames=4, kind="dense").choose(two, 20).tolist() == [0, 1, 1, 1]
    assert Sampling(frames=3).choose(np.array([7]), 8, draw=(1,)).tolist() == [0, 0, 0]


def test_frames_are_chosen_by_time_where_the_rate_varies() -> None:
    # ten frames in the first second, and one that stands for nine: it fills nine tenths of the clip
    starts = np.array([*range(0, 1000, 100), 1000])
    assert Sampling(frames=10).choose(starts, 10_000).tolist() == [5] + [10] * 9


@given(
    frames=st.integers(1, 20),
    kind=st.sampled_from(["uniform", "dense"]),
    stride=st.integers(1, 5),
    gaps=st.lists(st.integers(1, 500), min_size=1, max_size=60),
    draw=st.none() | st.integers(0, 5),
)
def test_choices_are_frames_in_order(
    frames: int, kind: str, stride: int, gaps: list[int], draw: int | None
) -> None:
    starts = np.cumsum(gaps)
    sampling = Sampling(frames=frames, kind=kind, stride=stride)  # type: ignore[arg-type]
    chosen = sampling.choose(starts, float(starts[-1] + 7), None if draw is None else (draw,))
    assert len(chosen) == frames
    assert (np.diff(chosen) >= 0).all()
    assert chosen[0] >= 0
    assert chosen[-1] < len(starts)


def test_random_places_stay_in_their_segment_and_reach_all_of_it() -> None:
    drawn = np.stack([Sampling(frames=8).choose(STEADY, 40 * 512, (seed,)) for seed in range(200)])
    assert (drawn // 5 == np.arange(8)).all()
    for column in drawn.T:
        assert len(set(column.tolist())) == 5


def test_random_dense_places_reach_both_ends_equally() -> None:
    sampling = Sampling(frames=4, kind="dense", stride=10)
    drawn = np.stack([sampling.choose(STEADY, 40 * 512, (seed,)) for seed in range(1000)])
    assert (np.diff(drawn, axis=1) == 10).all()
    counts = np.bincount(drawn[:, 0])
    assert len(counts) == 10  # 31 frames are spanned: it can begin at 0 to 9
    assert counts.min() > 60


@pytest.mark.parametrize("kind", ["uniform", "dense"])
def test_the_same_seed_gives_the_same_places(kind: str) -> None:
    sampling = Sampling(frames=4, kind=kind)  # type: ignore[arg-type]
    one, same, other = (sampling.choose(STEADY, 40 * 512, draw).tolist() for draw in ((1, 2), (1, 2), (1, 3)))
    assert one == same != other
