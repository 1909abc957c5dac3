"""What a search says while it runs, in words: one line each."""

from __future__ import annotations

from octnas.engine.events import SearchEvent
from octnas.front.axis import cost_words
from octnas.record import SupernetRecord, TrialRecord

__all__ = [
    "accuracy_text",
    "confirmed_text",
    "duration",
    "ended_line",
    "progress_text",
    "shared_text",
    "supernet_line",
    "trial_text",
]


def progress_text(event: SearchEvent) -> str:
    """Time left, best so far under the budget, size of the front and what is running, in one line.

    The most wanted comes first: a narrow terminal cuts off the end.
    """
    parts = []
    if event.seconds_left is not None and event.finished < event.planned:
        parts.append(f"about {duration(event.seconds_left)} left")
    if shared := shared_text(event):
        parts.append(shared)
    if event.best is not None:
        best = event.best
        parts.append(f"best {accuracy_text(best)} at {cost_words(best)} (trial {best.id})")
    if event.front:
        parts.append(f"front {event.front}")
    if event.running:
        running = ", ".join(f"{each.id}:{each.epochs}/{event.epochs}" for each in event.running)
        parts.append(f"running {running}")
    if event.confirming:
        parts.append(f"confirming with fresh seeds: {', '.join(event.confirming)}")
    return " · ".join(parts)


def shared_text(event: SearchEvent) -> str:
    """The supernets that are trained and how many architectures are scored; "" where there are none."""
    if event.shared is None:
        return ""
    shared, parts = event.shared, []
    trained = ", ".join(f"{name} {epochs}/{shared.epochs}" for name, epochs in shared.running)
    if trained:
        parts.append(f"supernets {trained}")
    if shared.scored or (shared.scoring and shared.to_score):
        parts.append(f"scored {shared.scored}/{shared.to_score}")
    return " · ".join(parts)


def trial_text(record: TrialRecord) -> str:
    """One line on a trial that ended."""
    label = f" {record.yardstick}" if record.yardstick else ""
    reason = f" ({record.reason})" if record.reason else ""
    accuracy = f", accuracy {accuracy_text(record)}" if record.accuracy is not None else ""
    return (
        f"trial {record.id}{label} {record.architecture.backbone} {cost_words(record)}: "
        f"{record.state}{reason}{accuracy}, {duration(record.seconds)}"
    )


def confirmed_text(record: TrialRecord) -> str:
    """One line on what a trial's architecture reached with the last of its fresh seeds."""
    label = f" {record.yardstick}" if record.yardstick else ""
    reached = f"accuracy {100 * record.accuracy_seeds[-1]:.2f} %"
    if record.test_accuracy_seeds:
        reached += f", {100 * record.test_accuracy_seeds[-1]:.2f} % on test data"
    seed = record.confirm_seeds[-1]
    return f"trial {record.id}{label} {record.architecture.backbone} again with seed {seed}: {reached}"


def supernet_line(record: SupernetRecord, epochs: int) -> str:
    """One line on a supernet that has a new score or has ended; `epochs` are of a whole training."""
    reason = f" ({record.reason})" if record.reason else ""
    ended = "" if record.state == "running" else f" {record.state}{reason},"
    plain = "" if record.accuracy is None else f", plain network {100 * record.accuracy:.2f} %"
    return (
        f"supernet {record.backbone}:{ended} epoch {record.epochs}/{epochs}{plain}, "
        f"{duration(record.seconds)}"
    )


def ended_line(event: SearchEvent) -> str:
    """What a terminal keeps of an event: a trial or a supernet that ended, a confirmation, a note, or ""."""
    if event.kind == "finished" and event.trial is not None:
        return trial_text(event.trial)
    if event.kind == "confirmed" and event.trial is not None:
        return confirmed_text(event.trial)
    if event.supernet is not None and event.supernet.state != "running":
        return supernet_line(event.supernet, event.epochs)
    return event.text if event.kind in ("begin", "note", "end") else ""


def accuracy_text(record: TrialRecord) -> str:
    """ "83.20 %", or "-" where nothing was scored yet."""
    return "-" if record.accuracy is None else f"{100 * record.accuracy:.2f} %"


def duration(seconds: float) -> str:
    """ "1 h 05 min", "3 min 07 s" or "9 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
