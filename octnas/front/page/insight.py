"""What the trials of a search say together: which layers want an octave, and how far candidates came."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from octnas.front.page.architectures import Backbone
from octnas.front.result import SearchResult
from octnas.record import TrialRecord, TrialState

__all__ = ["layers_document", "survival"]


def layers_document(result: SearchResult, backbones: Sequence[Backbone]) -> list[dict[str, Any]]:
    """For each backbone with candidates on the front: the mean alpha of every searched convolution over them
    and over all of its complete candidates, and the GFLOPs (10^9 multiply-adds) that the front's saves there
    on average against the plain convolution.
    """
    front = {each.id for each in result.front}
    candidates: dict[str, list[TrialRecord]] = {each.name: [] for each in backbones}
    for record in result.records:
        if record.yardstick is None and record.state is TrialState.COMPLETE:
            candidates.setdefault(record.architecture.backbone, []).append(record)
    documents = []
    for index, backbone in enumerate(backbones):
        complete = candidates[backbone.name]
        members = [each for each in complete if each.id in front]
        if members:
            documents.append(
                {
                    "backbone": index,
                    "members": len(members),
                    "complete": len(complete),
                    "layers": _means(backbone, members, complete),
                }
            )
    return sorted(documents, key=lambda each: (-each["members"], each["backbone"]))


def _means(
    backbone: Backbone, members: Sequence[TrialRecord], complete: Sequence[TrialRecord]
) -> list[dict[str, Any]]:
    ours, all_ = _mean_lows(members), _mean_lows(complete)
    means = []
    for place, layer in enumerate(backbone.layers):
        slot = layer.conv.slot
        if slot is None:
            continue
        gflops = statistics.fmean(layer.gflops(*layer.lows(each.architecture)) for each in members)
        means.append(
            {
                "layer": place,
                "alpha": round(ours[slot] / layer.conv.out_channels, 4),
                "all": round(all_[slot] / layer.conv.out_channels, 4),
                "saved": float(f"{layer.gflops(0, 0) - gflops:.4g}"),
            }
        )
    return means


def _mean_lows(records: Sequence[TrialRecord]) -> list[float]:
    """Mean low channels of each slot."""
    lows = np.array([each.architecture.low_channels for each in records], dtype=np.int64)
    return [float(mean) for mean in lows.mean(axis=0)]


def survival(records: Sequence[TrialRecord]) -> list[dict[str, int]]:
    """How many candidates were scored at each validation, from the first: those that ended as complete, those
    that were stopped or failed later, and those still under way."""
    reached: dict[str, Counter[int]] = {"complete": Counter(), "open": Counter(), "ended": Counter()}
    for each in records:
        if each.yardstick is None and each.epochs:
            ending = "ended" if each.state.final else "open"
            reached["complete" if each.state is TrialState.COMPLETE else ending][each.epochs] += 1
    last = max((epochs for counts in reached.values() for epochs in counts), default=0)
    still = dict.fromkeys(reached, 0)
    rows = []
    for epoch in range(last, 0, -1):
        for ending, counts in reached.items():
            still[ending] += counts[epoch]
        rows.append({"epoch": epoch, **still})
    return rows[::-1]
