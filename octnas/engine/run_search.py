"""A search from its journal to its end: whose records it knows, what it trains, and what it leaves behind."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from octnas.counted import counted
from octnas.engine.campaign import Campaign
from octnas.engine.confirm import confirming_seeds
from octnas.engine.events import Kind, Listener, SearchEvent, note_early
from octnas.engine.failures import refuse_if_all_failed
from octnas.engine.finalists import Finalists
from octnas.engine.front_drawn import FrontDrawn
from octnas.engine.jobs import trial_epochs
from octnas.engine.limits import TimeLimit
from octnas.engine.run_shared import run_shared
from octnas.engine.rungs import Rungs, rung_levels
from octnas.engine.scoring import restricted
from octnas.errors import Interrupted, RunError, afterwards
from octnas.front import SearchResult
from octnas.front.axis import budget_words, device_words, input_words
from octnas.record import (
    RunFolder,
    SearchHeader,
    TrialRecord,
    history,
    shared_scores,
    supernets,
)
from octnas.record.journal import TRIAL_EVENTS
from octnas.space import Feasible, SearchSpace

if TYPE_CHECKING:
    from octnas.data import ImageSet
    from octnas.engine.plan import Proposals
    from octnas.engine.workers import Workers
    from octnas.record.background import BackgroundTracker
    from octnas.record.mlflow_adapter import Tracker

__all__ = ["new_campaign", "run_search"]

SHARED_PART = 1 / 3
"""Of a time limit, what supernets and shared scores have; the rest is for what is reported."""


def new_campaign(
    run: RunFolder, *, space: SearchSpace, feasible: Feasible, grouped: bool = False, **options: Any
) -> Campaign:
    """The campaign of a run from its journal: its sampler and its rungs know every record there is.

    Args:
        grouped: see `Proposer`.
        options: further arguments of `Campaign`.
    """
    from octnas.engine.optuna_adapter import Proposer

    header, proxy = run.header, space.proxy
    # Line by line: what a long search's journal holds, all at once, takes gigabytes.
    others = [each for each in run.journal.events() if each["event"] not in TRIAL_EVENTS]
    records: dict[str, TrialRecord] = {}
    eta = proxy.rungs.eta
    levels = rung_levels(min_epochs=proxy.rungs.min_epochs, eta=eta, max_epochs=trial_epochs(header, proxy))
    scores = shared_scores(others)
    rungs = Rungs(
        levels,
        eta=eta,
        rank_by=proxy.rank_by,
        objective=feasible.objective,
        front_goes_on=bool(scores),
    )

    def past() -> Iterator[TrialRecord]:
        for record in history(run.journal.events()):
            records[record.id] = record
            yield record

    def taken() -> Iterator[TrialRecord]:
        for record in past():
            rungs.replay((record,))
            yield record

    reserved = [each.architecture for each in header.yardsticks]
    weighted = [each.backbone for each in supernets(others) if each.state == "complete"]
    warm = header.options.get("init") == "shared" and header.options.get("fine_tune") is not None
    proposer: Proposals = Proposer(
        restricted(feasible, weighted) if warm and weighted else feasible,
        sampler=header.sampler,
        seed=header.seed,
        rank_by=proxy.rank_by,
        reserved=reserved,
        history=taken(),
        grouped=grouped,
    )
    if scores:
        assert isinstance(proposer, Proposer)
        proposer = Finalists(
            feasible, scores, rank_by=proxy.rank_by, reserved=reserved, history=past(), sampler=proposer
        )
    confirm = confirming_seeds(header.seed, int(header.options.get("confirm", 0)))
    return Campaign(
        run,
        feasible=feasible,
        proposer=proposer,
        rungs=rungs,
        records=records.values(),
        confirm=confirm,
        shared={each.architecture.digest: each.accuracy for each in scores},
        **options,
    )


def run_search(
    run: RunFolder,
    space: SearchSpace,
    feasible: Feasible,
    images: ImageSet,
    workers: Workers,
    tracker: Tracker,
    listener: Listener | None,
    start: float,
    notes: Sequence[str] = (),
) -> SearchResult:
    """Trains what is left of a search whose journal is locked, and releases it.

    Args:
        start: reading of `time.monotonic` at which the search began, or was taken up again.
        notes: what its user should know, before anything is trained.
    """
    from octnas.engine.ray_adapter import ray_session, run_trials
    from octnas.engine.ray_metrics import SearchMetrics
    from octnas.record.background import BackgroundTracker
    from octnas.record.mlflow_import import import_mlflow
    from octnas.record.mlflow_system import SystemMetrics

    header = run.header
    evaluate = str(header.options["evaluate"])
    troubles: deque[str] = deque()
    tracking = BackgroundTracker(tracker, header, warn=troubles.append)
    drawn = FrontDrawn(run, warn=troubles.append)
    state = "failed"
    planned = header.trials + len(header.yardsticks)

    def say(text: str, kind: Kind = "note") -> None:
        note_early(listener, run.name, planned, text, kind)

    tell: Callable[..., None] = say

    def track(event: SearchEvent) -> None:
        if event.kind in ("finished", "confirmed") and event.trial is not None:
            tracking.log_trial(event.trial)
        if event.finished and event.trial is not None:
            tracking.refresh(lambda links: drawn.under_way(campaign, links))
        while troubles and event.kind != "note":
            tell(troubles.popleft())

    metrics = SearchMetrics(run.name)
    listeners = [each for each in (track, metrics, listener) if each is not None]
    try:
        with (
            afterwards(f". Everything measured is kept: `octnas resume {run.name}` goes on"),
            contextlib.ExitStack() as held,
            SystemMetrics(tracking.log_sample),
        ):
            held.callback(metrics.close)
            say(_greeting(header, feasible), "begin")
            for text in notes:
                say(text)
            import_mlflow()  # Ray Tune is about to, and a thread of ours may be at it
            if header.options.get("init") == "shared" and not run.records():
                held.enter_context(ray_session(workers, evaluate, images))
                run_shared(
                    run,
                    feasible=feasible,
                    images=images,
                    workers=workers,
                    listeners=listeners,
                    start=start,
                    minutes=None if header.max_minutes is None else SHARED_PART * header.max_minutes,
                )
            campaign = new_campaign(
                run,
                space=space,
                feasible=feasible,
                workers=workers.count,
                limit=_limit(header, start),
                listeners=listeners,
                start=start,
            )
            held.callback(campaign.leave)
            tell = campaign.note
            tracking.sync(record for record in campaign.records if record.state.final)
            run_trials(campaign, evaluate=evaluate, data=images, workers=workers)
            if campaign.interrupted:
                raise KeyboardInterrupt
            campaign.close()
            result = SearchResult.of(run)
            tracking.refresh(lambda links: drawn.of(result, links))
            refuse_if_all_failed(campaign.records)
            statistics = dict(campaign.statistics())
            run.journal.append({"event": "end", "state": "complete", "reason": campaign.ending, **statistics})
            state = "complete"
            campaign.note(_farewell(campaign.ending, statistics), kind="end")
    except KeyboardInterrupt:
        state = "interrupted"
        raise Interrupted(run.name) from None
    finally:
        sent = _close(run, tracking, state)
    for trouble in troubles:
        campaign.note(trouble)
    links = tracker.links
    if sent and links is not None:
        campaign.note(f"MLflow: {links.where(run.name)}")
    return result


def _limit(header: SearchHeader, start: float) -> TimeLimit | None:
    return None if header.max_minutes is None else TimeLimit.after(header.max_minutes, start=start)


def _close(run: RunFolder, tracking: BackgroundTracker, state: str) -> bool:
    """Writes down how a search ended, sends the store what it lacks, and releases the journal.

    Returns whether the store has all of it.
    """
    try:
        if state != "complete":
            # Where the disk is full the line is left out, and the search reads as interrupted, which it is.
            with contextlib.suppress(RunError):
                run.journal.append({"event": "end", "state": state})
        return tracking.close(state, timeout=60.0 if state == "complete" else 20.0)
    except KeyboardInterrupt:  # again: the journal is whole, and the store is brought up to it by `resume`
        raise Interrupted(run.name) from None
    finally:
        run.journal.release()


def _greeting(header: SearchHeader, feasible: Feasible) -> str:
    budget = budget_words(header).replace("GFLOPs", "GFLOPs (10^9 multiply-adds)")
    budget += ", the space's own" if header.options.get("budget_of_space") else ""
    timed = f", accuracy against {header.objective}, predicted for {device_words(header)}"
    return (
        f"search {header.name}: candidates {header.trials}, yardsticks {len(header.yardsticks)}, budget "
        f"{budget}, {', '.join(feasible.backbones)}, data {header.data}{input_words(header)}"
        f"{timed if header.profile else ''}{_init_words(header)}"
    )


def _init_words(header: SearchHeader) -> str:
    """Where trainings begin; nothing for those from scratch."""
    init, epochs = header.options.get("init", "scratch"), header.options.get("fine_tune")
    short = "" if epochs is None else f", {counted(epochs, 'epoch')} each"
    if init == "shared":
        begins = "from scratch" if epochs is None else f"from shared weights{short}"
        return f"; {header.options['score']} architectures scored on shared weights, trials {begins}"
    return "" if init == "scratch" else f"; trials begin from {init} weights{short}"


def _farewell(ending: str, statistics: dict[str, Any]) -> str:
    share = statistics["busy_share"]
    busy = "" if share is None else f"; {100 * share:.0f} % of the workers' time was in training steps"
    return f"search ended: {ending}{busy}"
