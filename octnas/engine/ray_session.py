"""Ray's start and end, and what lies in its object store.

Where this process is killed outright, Ray's own watchers end its workers and servers within a minute, and the
next search removes the folders that were left behind.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import secrets
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from octnas.engine.process import environment, import_folders, new_folder, short_folder
from octnas.engine.workers import Workers
from octnas.errors import RunError
from octnas.storage import Place

_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Of "0" Ray stays on the loopback interface, on every system; what a user has set stays."""
_given_by_user = _LOOPBACK in os.environ
# Ray reads these when it is imported.
_SETTINGS = {
    _LOOPBACK: "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "15",  # below 10, Tune waits for a worker to end and does nothing else
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # workers are started together: Tune's own 1 starts one by one
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000000",
}
for _key, _value in _SETTINGS.items():
    os.environ.setdefault(_key, _value)

import ray  # noqa: E402

__all__ = ["InStore", "StoredFiles", "connected", "content", "placed", "ray_session"]

OBJECT_STORE_BYTES = 256 * 2**20
"""Of Ray's shared memory, beside the images."""

_placed: dict[int, Any] = {}
"""References to the data of the sessions that are open, by `id`."""


def _store_bytes(data: Any) -> int:
    """The size of Ray's shared memory that holds the arrays of `data` once."""
    buffers: list[pickle.PickleBuffer] = []
    pickle.dumps(data, protocol=5, buffer_callback=buffers.append)
    return OBJECT_STORE_BYTES + sum(buffer.raw().nbytes for buffer in buffers)


@contextlib.contextmanager
def ray_session(workers: Workers, evaluate: str, data: Any) -> Iterator[None]:
    """A Ray on the loopback interface with `data` in its object store; nothing of it is left afterwards.

    Inside another session, or where a Ray runs in this process already, that one is used and left running;
    data that are placed already are not placed again. Several drivers may run in one session.

    Args:
        evaluate: the name ("module:function") of what a worker calls, so that workers can import it.
    """
    with _ray(workers, evaluate, _store_bytes(data)):
        mine = id(data) not in _placed
        if mine:
            _placed[id(data)] = ray.put(data)
        try:
            yield
        finally:
            if mine:
                del _placed[id(data)]


def placed(data: Any) -> Any:
    """The reference to data of an open session."""
    return _placed[id(data)]


class InStore:
    """A reference that travels within a job's settings, which are copied on the way."""

    def __init__(self, reference: Any) -> None:
        self.reference = reference

    def __deepcopy__(self, memo: dict[int, Any]) -> InStore:
        return self

    def __repr__(self) -> str:
        return "InStore"


class StoredFiles:
    """Files in the object store, each as it stands when it is first asked for, and again where it changed."""

    def __init__(self) -> None:
        self._stored: dict[Place, tuple[tuple[int, int], InStore]] = {}

    def put(self, path: Place) -> InStore:
        """Where the content of a file is.

        Raises:
            RunError: it cannot be read.
        """
        try:
            stat = path.stat()
            version = stat.st_mtime_ns, stat.st_size
            known = self._stored.get(path)
            if known is None or known[0] != version:
                known = self._stored[path] = version, InStore(ray.put(path.read_bytes()))
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}; put it back") from None
        return known[1]


_read: tuple[Any, bytes] | None = None
"""What this worker process read last."""


def content(stored: InStore) -> bytes:
    """The content of a stored file, in a worker; the same object for job after job with one file."""
    global _read
    if _read is None or _read[0] != stored.reference:
        _read = None  # before the next is read: two need not fit
        _read = stored.reference, ray.get(stored.reference)
    return _read[1]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage is collected inside: a reference of Ray's that another thread's collection drops while Ray
    shuts down ends the process."""
    gc.collect()
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_token = secrets.token_hex(32)


@contextlib.contextmanager
def _own_token() -> Iterator[None]:
    """A token for the Rays of this process: else Ray makes one for all, and writes it into the user's home.

    What the user has set stays.
    """
    if any(key in os.environ for key in _AUTH):
        yield
        return
    try:
        with environment({"RAY_AUTH_TOKEN": _token}):
            yield
    finally:
        os.environ.pop("RAY_AUTH_MODE", None)  # Ray sets it by itself


@contextlib.contextmanager
def _starting(inherited: Mapping[str, str]) -> Iterator[None]:
    """What keeps Ray from starting (no memory, a full /tmp, a machine that is too busy) is one line.

    Args:
        inherited: environment of the processes that are started.
    """
    try:
        with environment(inherited):
            yield
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise RunError(f"Ray could not start ({reason}): free memory, cores, or disk in /tmp") from error


@contextlib.contextmanager
def _ray(workers: Workers, evaluate: str, store_bytes: int) -> Iterator[None]:
    if ray.is_initialized():
        yield
        return
    inherited = {
        "PYTHONPATH": os.pathsep.join(import_folders(evaluate)),
        "OMP_NUM_THREADS": str(workers.cpus),
        "MKL_NUM_THREADS": str(workers.cpus),
        # Without a share of a GPU a trial must not see one; Ray leaves the variable alone then.
        **({"CUDA_VISIBLE_DEVICES": ""} if workers.devices and not workers.gpus else {}),
    }
    with (
        new_folder(short_folder(), "ray") as folder,
        _own_token(),
        connected(
            _starting(inherited),
            address="local",
            num_cpus=workers.cores,
            num_gpus=workers.devices,
            object_store_memory=store_bytes,
            include_dashboard=False,
            _temp_dir=str(folder),
        ),
    ):
        yield


@contextlib.contextmanager
def connected(
    translating: AbstractContextManager[None], *, loopback: bool = True, **options: Any
) -> Iterator[None]:
    """This process in a Ray, which says nothing on standard output; nothing of it is left afterwards.

    Args:
        loopback: whether Ray listens on the loopback interface alone, and takes it for this machine's.
        translating: around `ray.init`: turns what it raises into errors for users.
        options: of `ray.init`.
    """
    handler = signal.getsignal(signal.SIGTERM)
    if not _given_by_user:  # Ray has read it by now, once for a process
        os.environ[_LOOPBACK] = "0" if loopback else "1"
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = not loopback
    try:
        with translating:
            ray.init(configure_logging=True, logging_level=logging.ERROR, log_to_driver=False, **options)
        for name in ("ray.tune", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # Ray prints a paragraph on standard output for each worker that dies; its trial's row says it.
        ray._private.worker._worker_logs_enabled = False
        yield
    finally:
        with _no_collection():
            ray.shutdown()
        ray._private.worker._worker_logs_enabled = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
