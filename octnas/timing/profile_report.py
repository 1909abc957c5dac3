"""A profile for a terminal and as a document, and its progress on standard error; loads no tensor library."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octnas.counted import counted

if TYPE_CHECKING:
    from rich.console import Console

    from octnas.costs.latency import DeviceProfile

__all__ = ["profile_document", "profile_progress", "profile_text"]

_WORDS = {
    "operations": "timing single operations",
    "networks": "making whole networks ready",
    "measuring": "timing whole networks",
}


def profile_document(profile: DeviceProfile, *, space: str, file: Path, cached: bool) -> dict[str, Any]:
    """What `profile --json` prints."""
    return {
        "space": space,
        "device": profile.device,
        "runtime": profile.runtime,
        "threads": profile.threads,
        "batch": profile.batch,
        "versions": dict(profile.versions),
        "ops": len(profile.times),
        "networks": profile.error.networks,
        "error": {
            "median_percent": profile.error.median_percent,
            "worst_percent": profile.error.worst_percent,
        },
        "seconds": profile.seconds,
        "created": profile.created,
        "cached": cached,
        "digest": profile.digest,
        "file": str(file),
    }


def profile_text(document: dict[str, Any]) -> str:
    """The same for people."""
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    threads = counted(document["threads"], "thread")
    error = document["error"]
    made = f"made {document['created']} in {document['seconds']:.0f} s"
    return "\n".join(
        [
            f"{document['device']}; {document['runtime']} ({versions}), {threads}, batch {document['batch']}",
            f"{document['ops']} operations of space {document['space']} and "
            f"{document['networks']} whole networks",
            f"error of a network's predicted latency: median {error['median_percent']:.1f} %, "
            f"worst {error['worst_percent']:.1f} % (each network by a fit to the others)",
            f"from the cache, {made}; --force measures again" if document["cached"] else made,
            document["file"],
        ]
    )


@contextmanager
def profile_progress(console: Console | None = None) -> Iterator[Callable[[str, float], None]]:
    """What `profile` reports to: a bar in a terminal, a line for each part of the work elsewhere.

    Args:
        console: standard error by default.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    console = console or Console(stderr=True)
    if not console.is_terminal:
        seen: set[str] = set()

        def line(part: str, share: float) -> None:
            if part not in seen:
                seen.add(part)
                console.print(f"octnas: {_WORDS[part]}", markup=False, highlight=False)

        yield line
        return
    columns = (
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda part, share: bar.update(task, completed=share, description=_WORDS[part])
