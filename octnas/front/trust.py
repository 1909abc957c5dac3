"""How far a proxy's order of architectures can be trusted: every proxy against full training.

The reference is the mean accuracy over the seeds of full training (the proxy network on all training data,
four times as long). A proxy's scores are turned so that higher is better: training losses count negative.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from octnas.counted import counted
from octnas.front.correlation import Agreement, Ceiling, agreement, ceiling
from octnas.front.smoothing import Lines
from octnas.record import RunFolder, SharedScore
from octnas.record.ranking import SHARED, SHARED_LOSS, Kind, Ranked, rank_document

__all__ = ["LOW_TAU", "SMOOTHED", "Measured", "measured", "proxy_words", "rank_warning", "trust_document"]

LOW_TAU = 0.6
"""Kendall's tau below which a search's report warns."""
LOSSES = "training-losses"
SMOOTHED = "shared-smoothed"
"""Proxy's name of the accuracy that the loss on shared weights stands for, by which a search ranks."""
_WORDS = {
    SHARED: "shared weights",
    SMOOTHED: "shared, by loss",
    LOSSES: "training losses",
    "gflops": "GFLOPs",
    "params": "parameters",
    "synflow": "synflow",
    "grad-norm": "gradient norm",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The architectures whose full trainings are all there, with what each proxy says of them."""

    digests: tuple[str, ...]
    full: tuple[tuple[float, ...], ...]
    """For each its accuracy (0 to 1) in each seed of full training."""
    proxies: Mapping[str, tuple[float | None, ...]]
    """For each proxy a score of each architecture, higher is better; None where there is none."""

    @property
    def means(self) -> list[float]:
        """The mean accuracy of full training of each architecture."""
        return [statistics.fmean(each) for each in self.full]

    def against(self, proxy: str) -> Agreement:
        """A proxy's agreement with full training, over the architectures of which it says anything."""
        pairs = [
            (score, mean)
            for score, mean in zip(self.proxies[proxy], self.means, strict=True)
            if score is not None
        ]
        return agreement([score for score, _ in pairs], [mean for _, mean in pairs])


def measured(
    ranked: Ranked,
    *,
    seed: int,
    full_seeds: Sequence[int],
    epochs: Mapping[Kind, int],
    rungs: Sequence[int],
    shared: Sequence[SharedScore] = (),
) -> Measured:
    """What is known of each proxy.

    Args:
        seed: of the proxies' trainings, the search's.
        full_seeds: of the full trainings; an architecture that lacks one is left out.
        epochs: scores of a whole training of each kind.
        rungs: epochs after which the search compares trials.
        shared: the search's shared scores, through which, and those of `ranked`, shared scores are smoothed.
    """
    own = _shared_scores(ranked)
    lines = Lines([*shared, *own.values()])
    rows: dict[str, dict[str, float]] = {}
    full: list[tuple[float, ...]] = []
    for model in ranked.models:
        trained = [ranked.scores("full", model.digest, each, epochs["full"]) for each in full_seeds]
        if any(scores is None for scores in trained):
            continue
        full.append(tuple(scores[-1].accuracy for scores in trained if scores is not None))
        row = rows[model.digest] = {"gflops": model.gflops, "params": float(model.params)}
        row |= {key: value for key, value in _values(ranked, model.digest).items() if key != SHARED_LOSS}
        if model.digest in own:
            row[SMOOTHED] = lines(own[model.digest])
        for kind in ("warm", "scratch"):
            scores = ranked.scores(kind, model.digest, seed, epochs[kind])
            if scores is None:
                continue
            row[kind] = scores[-1].accuracy
            if kind == "scratch":
                row |= {f"scratch-{rung}": scores[rung - 1].accuracy for rung in rungs}
                row[LOSSES] = -sum(score.train_loss for score in scores)
    names = [SHARED, SMOOTHED, "warm", *(f"scratch-{rung}" for rung in rungs), "scratch", LOSSES]
    names += ["gflops", "params", "synflow", "grad-norm"]
    return Measured(
        digests=tuple(rows),
        full=tuple(full),
        proxies={
            name: tuple(row.get(name) for row in rows.values())
            for name in names
            if any(name in row for row in rows.values())
        },
    )


def trust_document(
    found: Measured,
    ranked: Ranked,
    *,
    name: str,
    full_seeds: Sequence[int],
    epochs: Mapping[Kind, int],
    ranked_by: Sequence[str],
    left_out: Sequence[str] = (),
) -> dict[str, Any]:
    """What `octnas rank --json` prints.

    Args:
        name: of the search.
        ranked_by: the proxies by which the search chooses.
        left_out: sentences on what is not in the table.
    """
    top = ceiling(found.full)
    agreements = {proxy: found.against(proxy) for proxy in found.proxies}
    models = {model.digest: model for model in ranked.models}
    document = {
        "name": name,
        "models": len(found.digests),
        "seeds": len(full_seeds),
        "full_epochs": epochs["full"],
        "proxy_epochs": epochs["scratch"],
        **_ceiling(top),
        "proxies": {
            proxy: {
                **each.to_dict(),
                "share_of_ceiling": _share(each, top),
                "label": proxy_words(proxy, epochs),
            }
            for proxy, each in agreements.items()
        },
        "ranked_by": list(ranked_by),
        "architectures": [
            {
                "digest": digest,
                "trial": models[digest].trial,
                "backbone": models[digest].architecture.backbone,
                "low_channels": list(models[digest].architecture.low_channels),
                "gflops": models[digest].gflops,
                "full_accuracy": list(full),
                "proxies": {proxy: scores[place] for proxy, scores in found.proxies.items()},
            }
            for place, (digest, full) in enumerate(zip(found.digests, found.full, strict=True))
        ],
        "left_out": list(left_out),
    }
    document["warnings"] = _warnings(document)
    return document


def rank_warning(run: RunFolder) -> str | None:
    """The sentence that a search's report carries where `octnas rank` found the proxy by which it ranks to
    agree with full training by less than a tau of `LOW_TAU`; None where it did not, or was never run."""
    document = rank_document(run)
    if document is None or not document["warnings"]:
        return None
    return f"octnas rank: {' '.join(document['warnings'])}"


def proxy_words(proxy: str, epochs: Mapping[Kind, int]) -> str:
    """ "scratch, epoch 2/4" for "scratch-2": short, as it stands in a table."""
    kind, _, rung = proxy.partition("-")
    if kind == "scratch":
        return f"scratch, epoch {rung or epochs['scratch']}/{epochs['scratch']}"
    if proxy == "warm":
        return f"warm, {counted(epochs['warm'], 'epoch')}"
    return _WORDS[proxy]


def _values(ranked: Ranked, digest: str) -> Mapping[str, float]:
    return ranked.values.get(digest, {})


def _shared_scores(ranked: Ranked) -> dict[str, SharedScore]:
    """Accuracy and loss on shared weights by digest, of the architectures that have both."""
    return {
        model.digest: SharedScore(
            architecture=model.architecture, accuracy=values[SHARED], loss=values[SHARED_LOSS]
        )
        for model in ranked.models
        if {SHARED, SHARED_LOSS} <= (values := _values(ranked, model.digest)).keys()
    }


def _ceiling(top: Ceiling | None) -> dict[str, Any]:
    if top is None:
        keys = ("ceiling", "ceiling_interval", "ceiling_spearman", "ceiling_spearman_interval")
        return {**dict.fromkeys(keys), "signal_points": None, "noise_points": None}
    return {
        "ceiling": top.tau,
        "ceiling_interval": None if top.tau_interval is None else list(top.tau_interval),
        "ceiling_spearman": top.spearman,
        "ceiling_spearman_interval": None if top.spearman_interval is None else list(top.spearman_interval),
        "signal_points": 100 * top.signal,
        "noise_points": 100 * top.noise,
    }


def _share(each: Agreement, top: Ceiling | None) -> float | None:
    return None if each.tau is None or top is None or top.tau <= 0 else each.tau / top.tau


def _warnings(document: Mapping[str, Any]) -> list[str]:
    """A sentence on the proxies that the search ranks by and that agree too little with full training."""
    found = [document["proxies"][name] for name in document["ranked_by"] if name in document["proxies"]]
    low = [each for each in found if each["tau"] is None or each["tau"] < LOW_TAU]
    if not low:
        return []
    taus = " and ".join(f"{_figure(each['tau'], each['tau_interval'])} for {each['label']}" for each in low)
    top = document["ceiling"]
    bound = "" if top is None else f" (a proxy without any error of its own would reach about {top:.2f})"
    return [
        f"Kendall's tau with full training is {taus}, by which the search ranks, over "
        f"{document['models']} architectures{bound}: under {LOW_TAU:g}, so the order of trials that are "
        "close is not to be trusted. Train several members of the front at --scale full before one is chosen."
    ]


def _figure(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:.2f}" if interval is None else f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
