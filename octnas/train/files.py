"""Files that are written whole or not at all, in a folder or in an object store."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from octnas.errors import RunError
from octnas.storage import Place, put_whole, reason_of

__all__ = ["STALE_SECONDS", "drop_parts", "readable", "written_whole"]

STALE_SECONDS = 3600.0
"""Age at which half a file can have no writer any more."""


@contextmanager
def written_whole(path: Place) -> Iterator[Path]:
    """A local path to write to; what was written takes `path`'s place when the block ends without an error.

    Every writer has a path of its own: of several that write at once the last one's file stays.

    Raises:
        RunError: the file, or a folder above it, cannot be written.
    """
    folder: Path | None = None
    part = Path()
    try:
        if isinstance(path, Path):
            part = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
            path.parent.mkdir(parents=True, exist_ok=True)
        else:
            folder = Path(tempfile.mkdtemp(prefix="octnas-"))
            part = folder / path.name
        yield part
        if isinstance(path, Path):
            os.replace(part, path)
        else:
            try:
                put_whole(part, path)
            except Exception as error:  # each client has errors of its own
                raise _unwritable(path, error) from error
    # torch and safetensors wrap the system's error (a full disk, say) in errors of their own.
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RunError):
            raise
        raise _unwritable(path, error) from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            with suppress(OSError):
                part.unlink()


def drop_parts(folder: Path, *, older_than: float = STALE_SECONDS) -> None:
    """Removes what killed writers of `written_whole` left half written in a folder.

    Args:
        older_than: seconds since the last write to such a file.
    """
    for part in folder.glob(".*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime >= older_than:
                part.unlink()


def readable(path: Place) -> Path | io.BytesIO:
    """What `torch.load` and the like read a file from: its path, or its bytes where it is not a local one.

    Raises whatever the client of a store does.
    """
    return path if isinstance(path, Path) else io.BytesIO(path.read_bytes())


def _unwritable(path: Place, error: BaseException) -> RunError:
    return RunError(f"{path} must be writable, but is not: {reason_of(error)}")
