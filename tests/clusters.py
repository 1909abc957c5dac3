"""Real Ray clusters of several nodes on this machine, on loopback, whose nodes come and go as a test says."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all of it on loopback
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's watch over its nodes, faster than its usual fifteen seconds
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "4",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""What every process of a cluster has in its environment, the search's too."""

WATCHER = """
import json, sys, time
from ray._private.state import GlobalState
from ray._raylet import GcsClientOptions

options = GcsClientOptions.create(sys.argv[1], None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False)
state = GlobalState()
state._initialize_global_state(options)
while True:
    print(json.dumps([each["NodeID"] for each in state.node_table() if each["Alive"]]), flush=True)
    time.sleep(0.2)
"""
NODE = """
import json, signal, sys
from ray._private.node import Node
from ray._private.parameter import RayParams

options = json.loads(sys.argv[1])
params = RayParams(min_worker_port=0, max_worker_port=0, object_store_memory=150 * 2**20, **options)
node = Node(params, head="gcs_address" not in options, shutdown_at_exit=True, spawn_reaper=True)
signal.pause()
"""
"""What `ray start --block` does; that command refuses a second node on loopback."""
T = TypeVar("T")


@dataclass(kw_only=True)
class Machine:
    """A node, and all that it started."""

    process: subprocess.Popen[bytes]
    id: str = ""

    def processes(self) -> list[psutil.Process]:
        """All that are alive, the node's own first."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def trainers(self) -> list[psutil.Process]:
        """The processes in which trials are trained at this moment."""
        found = []
        for each in self.processes():
            with contextlib.suppress(psutil.Error):
                if each.cmdline()[:1] and "ImplicitFunc" in each.cmdline()[0]:
                    found.append(each)
        return found

    def kill(self) -> None:
        """Pulls the plug: nothing of it runs on and tells what happened to the rest."""
        all_of_it = self.processes()
        for each in all_of_it:
            with contextlib.suppress(psutil.Error):
                each.suspend()
        for each in all_of_it:
            with contextlib.suppress(psutil.Error):
                each.kill()
        self.process.wait(timeout=30)


@dataclass(kw_only=True)
class LocalCluster:
    """A cluster under way; its head takes no trials."""

    address: str
    head: Machine
    nodes: list[Machine] = field(default_factory=list)
    folder: Path = Path()
    """Where Ray keeps its files, the head's and all others'."""
    _up: set[str] = field(default_factory=set)

    def add(
        self,
        *,
        cpus: int = 1,
        gpus: int = 0,
        env: dict[str, str] | None = None,
        first: str = "",
        wait: bool = True,
    ) -> Machine:
        """One more node.

        Args:
            first: shell commands in a mount namespace of the node's own, before Ray starts there: disks that
                this node alone has.
        """
        options = {
            "gcs_address": self.address,
            "redis_address": self.address,
            "num_cpus": cpus,
            "num_gpus": gpus,
        }
        node = _start(options, env or {}, first)
        self.nodes.append(node)
        if wait:
            known = {each.id for each in (self.head, *self.nodes)}
            node.id = wait_for(lambda: next(iter(self.up() - known), ""), "a node to join")
        return node

    def up(self) -> set[str]:
        """Ids of the nodes that are up, the head's too."""
        return set(self._up)

    def watch(self, lines: Iterable[bytes]) -> None:
        """Keeps `up` true, line by line of the watcher."""
        for line in lines:
            self._up = set(json.loads(line))

    def notice(self, node: Machine, seconds: float) -> None:
        """Tells Ray, as a cloud does, that a node will be taken away."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ray.scripts.scripts",
                "drain-node",
                f"--address={self.address}",
                f"--node-id={node.id}",
                "--reason=DRAIN_NODE_REASON_PREEMPTION",
                "--reason-message=spot",
                f"--deadline-remaining-seconds={int(seconds)}",
            ],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **SETTINGS},
        )
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def local_cluster(
    *,
    dashboard_port: int | None = None,
    machines: int = 0,
    env: Mapping[str, str] | None = None,
) -> Iterator[LocalCluster]:
    """A head without nodes; nothing of it is left afterwards, no files either.

    Args:
        dashboard_port: where Ray's page, which also takes jobs, listens on loopback; None: there is none.
        machines: of one core, that Ray's autoscaler may start.
        env: of the head's processes.
    """
    port = free_port()
    options: dict[str, Any] = {
        "gcs_server_port": port,
        "num_cpus": 0,
        "num_gpus": 0,
        "include_dashboard": False,
    }
    if dashboard_port is not None:
        options |= {
            "include_dashboard": True,
            "dashboard_port": dashboard_port,
            "dashboard_host": "127.0.0.1",
        }
    inherited = dict(env or {})
    # Nodes, and who joins, ask the head for it. Paths of sockets in it must be short.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder:
        options["temp_dir"] = folder
        if machines:
            config = Path(folder) / "autoscaling.json"
            config.write_text(json.dumps(_autoscaling(machines, f"127.0.0.1:{port}")), encoding="utf-8")
            options["autoscaling_config"] = str(config)
            inherited |= {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}
        head = _start(options, inherited, "")
        with _ended(head, port) as cluster:
            cluster.folder = Path(folder)
            yield cluster


@contextlib.contextmanager
def _ended(head: Machine, port: int) -> Iterator[LocalCluster]:
    cluster = LocalCluster(address=f"127.0.0.1:{port}", head=head)
    watcher: subprocess.Popen[bytes] | None = None
    try:
        wait_for(lambda: _answers(port), "the head to start")
        watcher = subprocess.Popen(
            [sys.executable, "-c", WATCHER, cluster.address],
            env={**os.environ, **SETTINGS}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert watcher.stdout is not None
        threading.Thread(target=cluster.watch, args=(watcher.stdout,), daemon=True).start()
        head.id = wait_for(lambda: next(iter(cluster.up()), ""), "the head to join")
        yield cluster
    finally:
        if watcher is not None:
            watcher.kill()
            watcher.wait()
        for each in (*cluster.nodes, head):
            each.kill()


def _autoscaling(machines: int, address: str) -> dict[str, Any]:
    """The configuration of an autoscaler whose machines are processes of this one."""
    kinds = {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": machines},
    }
    commands = ("setup", "start_ray", "initialization")
    return {
        "cluster_name": "local",
        "max_workers": machines,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "provider": {
            "type": "fake_multinode",
            "gcs_address": address,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "use_node_id_as_ip": True,
        },
        "head_node_type": "ray.head.default",
        "available_node_types": kinds,
        "file_mounts_sync_continuously": False,
        **{key: {} for key in ("auth", "docker", "file_mounts")},
        **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{f"{who}{what}_commands": [] for who in ("", "head_", "worker_") for what in commands},
    }


def _start(options: Mapping[str, Any], env: dict[str, str], first: str) -> Machine:
    command = [sys.executable, "-c", NODE, json.dumps(options)]
    if first:
        command = ["unshare", "--mount", "sh", "-ec", f"{first}\nexec {shlex.join(command)}"]
    inherited = {**os.environ, **SETTINGS, **env}
    inherited.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        command,
        env=inherited,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return Machine(process=process)


def free_port() -> int:
    """A port of loopback that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def wait_for(found: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """What `found` answers as soon as it is true."""
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until, f"waited {seconds:g} s for {what}"
        time.sleep(0.05)
    return value
