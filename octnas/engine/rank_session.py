"""`rank`: how well each proxy of a search orders architectures as full training does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from octnas.counted import counted
from octnas.engine.budgets import kept_profile
from octnas.engine.checks import load_data, refuse_supernet
from octnas.engine.display_text import duration
from octnas.engine.evaluate import named
from octnas.engine.rank_jobs import Plans
from octnas.engine.rank_models import chosen_models
from octnas.engine.rank_plan import (
    Asked,
    labels_of,
    missing_jobs,
    ranked_by,
    reused_trainings,
    seconds_per_step,
)
from octnas.engine.ranking import Ranking, RankListener
from octnas.errors import DataError, Interrupted, RunError, SearchFailedError, afterwards
from octnas.front.trust import Measured, measured, trust_document
from octnas.front.trust_png import rank_png
from octnas.record import Journal, RunFolder, shared_scores
from octnas.record.ranking import RANK_VERSION, Ranked, keep_rank, rank_journal, read_rank
from octnas.record.tracking_store import resolve_store
from octnas.space import parse_space
from octnas.storage import remove

if TYPE_CHECKING:
    from octnas.record.mlflow_adapter import Tracker

__all__ = ["DEFAULT_MODELS", "DEFAULT_SEEDS", "rank"]

DEFAULT_MODELS = 16
DEFAULT_SEEDS = 2
"""The fewest that tell the noise of full training."""
FEWEST = 4
"""Architectures below which a rank correlation says nothing."""
MOST_SEEDS = 16
_FULL_SEED = 2000
"""Between the search's seed and the first of full training, so that no proxy shares its noise."""


def rank(
    name: str,
    *,
    models: int = DEFAULT_MODELS,
    seeds: int = DEFAULT_SEEDS,
    epochs: int | None = None,
    tracking_uri: str | None = None,
    listener: RankListener | None = None,
) -> dict[str, Any]:
    """Trains a spread of architectures in full and sets every proxy of the search `name` beside it.

    What an earlier call measured is taken over: asking for more architectures or seeds trains only those that
    are missing, and a call that was cut off goes on. Report and picture are kept as `rank.json` and
    `rank.png` in the run's folder, and the search's report carries the warnings from then on.

    Args:
        models: architectures, from cheap to dear within the budgets over all backbones.
        seeds: of full training; one tells no noise, and so no ceiling.
        epochs: of full training; four times the proxy's length, if not given.
        tracking_uri: MLflow's store; the search's, if not given.
        listener: called with each `RankEvent`.

    Returns:
        JSON values: `models`, `ceiling`, `proxies` and more; see docs/trust.md.

    Raises:
        OctnasError: with exit code 2 before anything is trained; `SearchFailedError` afterwards.
        Interrupted: Ctrl-C, when everything measured so far is written down.
    """
    if models < FEWEST:
        raise RunError(f"`models >= {FEWEST}` must hold for a rank correlation, but got {models}")
    if not 1 <= seeds <= MOST_SEEDS:
        raise RunError(f"`1 <= seeds <= {MOST_SEEDS}` must hold, but got {seeds}")
    if epochs is not None and epochs < 1:
        raise RunError(f"`epochs >= 1` must hold, but got {epochs}")
    from octnas.record.mlflow_adapter import Tracker

    run = RunFolder.open(name)
    refuse_supernet(run)
    # The lock is the run's, so that nothing searches in it or deletes it meanwhile.
    try:
        with rank_journal(run).exclusive() as journal:
            asked = _admitted(run, models, seeds, epochs)
            tracker = Tracker(resolve_store(tracking_uri, run.header.tracking_uri))
            with afterwards("; what was measured is kept, and the same command goes on"):
                ranking = _trained(asked, journal, listener)
                return _reported(asked, ranking, tracker)
    except KeyboardInterrupt:
        raise Interrupted(run.name) from None


def _admitted(run: RunFolder, count: int, seeds: int, epochs: int | None) -> Asked:
    from octnas.engine.workers import plan_workers

    header = run.header
    named(str(header.options["evaluate"]))
    space = parse_space(header.space_yaml, source=f"the space of {run.name!r}")
    feasible = space.feasible(
        header.budget_gflops,
        budget_ms=header.budget_ms,
        profile=kept_profile(run),
        objective=header.objective,
    )
    ranked = read_rank(run)
    data = load_data(space)
    if data.fingerprint != header.data_fingerprint:
        raise DataError(
            f"data {header.data!r} must be what {run.name!r} was searched with, fingerprint "
            f"{header.data_fingerprint}, but is {data.fingerprint}: restore it, or search anew"
        )
    return Asked(
        run=run,
        space=space,
        feasible=feasible,
        data=data,
        workers=plan_workers(header.cpus_per_trial, header.gpus_per_trial),
        plans=Plans(run, space, data, epochs=epochs),
        records=run.records(),
        ranked=ranked,
        count=count,
        seeds=tuple((header.seed + _FULL_SEED + number) % 2**63 for number in range(seeds)),
    )


# -------------------------------------------------------------------- training
def _trained(asked: Asked, journal: Journal, listener: RankListener | None) -> Ranking:
    """Trains what is missing."""
    run, ranked = asked.run, asked.ranked
    if not journal.path.exists():
        journal.append({"event": "rank", "schema_version": RANK_VERSION})
    new = chosen_models(asked.feasible, asked.records, asked.count, seed=asked.seed, known=ranked.models)
    for model in new:
        _write(ranked, journal, model.to_dict())
    for event in reused_trainings(asked):
        _write(ranked, journal, event)
    ranking = Ranking(
        ranked,
        journal,
        missing_jobs(asked),
        labels=labels_of(ranked),
        workers=asked.workers.count,
        seconds_per_step=seconds_per_step(asked),
        remove=lambda job: remove(run.checkpoint(job.id)),
        listeners=[] if listener is None else [listener],
    )
    ranking.note(_greeting(asked, ranking), kind="begin")
    if ranking.has_work:
        _run(asked, ranking)
    if ranking.interrupted:
        raise KeyboardInterrupt
    return ranking


def _run(asked: Asked, ranking: Ranking) -> None:
    from octnas.engine.ray_adapter import ray_session, run_trials

    trains = str(asked.run.header.options["evaluate"])
    # Where a user's own function trains, the session is told of it, so that workers can import it.
    own = not trains.startswith("octnas.")
    with ray_session(asked.workers, trains, asked.data) if own else nullcontext():
        run_trials(ranking, evaluate="octnas.engine.rank_jobs:work", data=asked.data, workers=asked.workers)


def _write(ranked: Ranked, journal: Journal, event: dict[str, Any]) -> None:
    journal.append(event)
    ranked.take(event)


def _greeting(asked: Asked, ranking: Ranking) -> str:
    models, left = len(asked.models), ranking.seconds_left
    text = (
        f"rank {asked.run.name}: {counted(models, 'architecture')}, full training of "
        f"{counted(asked.plans.epochs['full'], 'epoch')} with {counted(len(asked.seeds), 'seed')}"
    )
    if models < asked.count:
        text += f" (no more than {models} architectures are within the budget)"
    if not ranking.has_work:
        return f"{text}: all measured before"
    return f"{text}, about {duration(left)}" if left is not None else text


# -------------------------------------------------------------------- what it amounts to
def _reported(asked: Asked, ranking: Ranking, tracker: Tracker) -> dict[str, Any]:
    """The document, kept beside the search and sent to the tracking store."""
    run, plans = asked.run, asked.plans
    found = measured(
        asked.ranked,
        seed=asked.seed,
        full_seeds=asked.seeds,
        epochs=plans.epochs,
        rungs=asked.rungs,
        shared=shared_scores(run.journal.read()),
    )
    if len(found.digests) < FEWEST:
        reasons = "; ".join(f"{what} failed: {why}" for what, why in list(ranking.failures.items())[-2:])
        raise SearchFailedError(
            f"{FEWEST} architectures or more must be trained in full, but {len(found.digests)} were: "
            f"{reasons or 'the budget holds no more'}"
        )
    document = trust_document(
        found,
        asked.ranked,
        name=run.name,
        full_seeds=asked.seeds,
        epochs=plans.epochs,
        ranked_by=ranked_by(asked),
        left_out=list(_left_out(asked, found, ranking)),
    )
    document["picture"] = str(run.path / "rank.png")
    files = keep_rank(run, document, rank_png(document))
    ranking.note("ranking ended", kind="end")
    tracker.log_rank(run.header, document, files)
    return document


def _left_out(asked: Asked, found: Measured, ranking: Ranking) -> Iterator[str]:
    """Sentences on what the table lacks."""
    if "shared" not in found.proxies and not asked.plans.given:
        warm = "" if "warm" in found.proxies else " and warm starts"
        yield (
            f"Left out: shared weights{warm}, as {asked.run.name} has none (`octnas search --init shared`, "
            "`octnas supernet`)."
        )
    for what, reason in ranking.failures.items():
        yield f"Left out: {what}, which failed: {reason}."
