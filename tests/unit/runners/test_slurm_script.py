"""The Slurm script, run with stand-ins for srun, scontrol, ray and octnas that write down what is asked."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from octnas.architecture import Architecture
from octnas.record import EpochScore, Journal, TrialRecord, TrialState

SCRIPT = Path(__file__).parents[3] / "runners/slurm.sbatch"
NODES = ("n1", "n2", "n3")
SCORE = EpochScore(
    epoch=1, accuracy=0.5, loss=1.0, train_loss=1.0, seconds=2.0, train_seconds=1.0, images_per_second=9.0
)
BEGUN = TrialRecord(
    id="1",
    architecture=Architecture.uniform("resnet18", alpha=0.5),
    state=TrialState.RUNNING,
    gflops=1.0,
    params=1,
    shared_accuracy=0.4,
)
IDLE: tuple[Callable[[Journal], object], ...] = (
    lambda journal: journal.append({"event": "resume", "versions": {"octnas": "1.0"}}),
    lambda journal: journal.append_trial(BEGUN),
    lambda journal: journal.append({"event": "end", "state": "interrupted"}),
)
"""What a search writes that waits for a node from its begin to its end."""
TRAINED: dict[str, Callable[[Journal], object]] = {
    "an epoch": lambda journal: journal.append_score("1", SCORE),
    "a trial": lambda journal: journal.append_trial(BEGUN.with_score(SCORE).with_state(TrialState.PAUSED)),
    "a confirmation": lambda journal: journal.append_confirmation("1", 1000, SCORE),
}

SRUN = """#!/usr/bin/env bash
set -m # a step is a process group
tasks=1 node=
while [[ $1 == --* ]]; do
  case $1 in
    --ntasks=*) tasks=${1#*=} ;;
    --nodelist=* | --exclude=*) node=$1 ;;
  esac
  shift
done
echo "srun $tasks $node $1" >> "$EVENTS"
pids=() ended=
trap 'ended=yes' TERM
for ((i = 0; i < tasks; i++)); do SLURM_PROCID=$i "$@" & pids+=($!); done
[[ $ended ]] || wait
[[ ! $ended ]] || kill -TERM -- "${pids[@]/#/-}"
wait
"""
RAY = """#!/usr/bin/env bash
case $1 in
  status)
    [[ $3 == "$RAY_ADDRESS" && -e $EVENTS.head ]]
    exit ;;
  start)
    role=worker
    [[ " $* " != *" --head "* ]] || role=head
    [[ $role != "${BROKEN:-}" ]] || { echo "ray start $role broken" >> "$EVENTS"; exit 1; }
    sleep "${SLOW:-0}"
    mkdir -p "$RAY_TMP"
    sleep 300 &
    trap 'kill $!; echo "ray end $role" >> "$EVENTS"; exit 0' TERM
    echo "ray start $role ${*:2} ($RAY_AUTH_MODE ${#RAY_AUTH_TOKEN})" >> "$EVENTS"
    printf %s "$RAY_AUTH_TOKEN" > "$EVENTS.token"
    touch "$EVENTS.$role" "$EVENTS.$role.$SLURM_PROCID"
    wait ;;
esac
"""
SCONTROL = """#!/usr/bin/env bash
[[ $1 != show ]] || { echo n1; sleep 0.05; echo n2; echo n3; exit; }
echo "scontrol $*" >> "$EVENTS"
"""
OCTNAS = """#!/usr/bin/env bash
echo "octnas $* ($RAY_ADDRESS)" >> "$EVENTS"
mkdir -p "$OCTNAS_HOME/first"
until [[ -e $EVENTS.worker.0 && -e $EVENTS.worker.1 ]]; do sleep 0.05; done
cat "$EVENTS.journal" >> "$OCTNAS_HOME/first/journal.jsonl"
[[ $HOLD ]] || exit "${CODE:-0}"
sleep 300 &
trap 'kill $!; echo "octnas interrupted" >> "$EVENTS"; sleep 0.2; exit 130' TERM
touch "$EVENTS.ready"
wait
"""


class Job:
    """One Slurm job of three nodes, which may run several times."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.events, self.id = folder, folder / "events", f"test{os.getpid()}{folder.name}"
        for name, content in (("srun", SRUN), ("ray", RAY), ("scontrol", SCONTROL), ("octnas", OCTNAS)):
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(content, encoding="utf-8")
            path.chmod(0o755)
        self.script, self.output = SCRIPT, ""
        self.writes: tuple[Callable[[Journal], object], ...] = (*IDLE, TRAINED["an epoch"])
        """To its journal, in every run."""

    def start(self, **settings: str) -> subprocess.Popen[str]:
        for left in self.folder.glob("events*"):
            left.unlink()
        for write in self.writes:
            write(Journal(f"{self.events}.journal"))
        environment = {
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "EVENTS": str(self.events),
            "SLURM_JOB_ID": self.id,
            "SLURM_JOB_NODELIST": "n[1-3]",
            "SLURM_JOB_NUM_NODES": str(len(NODES)),
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_CPUS_ON_NODE": "64",
            "SLURM_GPUS_ON_NODE": "4",
            "HEAD_ADDRESS": "127.0.0.1",
            "NAME": "first",
            "STORAGE": "s3://bucket/octnas",
            **settings,
        }
        return subprocess.Popen(
            ["bash", str(self.script)],
            cwd=self.folder,
            env={key: value for key, value in environment.items() if value},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> tuple[int, list[str]]:
        """Its exit code, and what the stand-ins wrote."""
        self.output, _ = process.communicate(timeout=60)
        lines = self.events.read_text(encoding="utf-8").splitlines() if self.events.exists() else []
        return process.returncode, lines

    def run(self, **settings: str) -> tuple[int, list[str]]:
        return self.end(self.start(**settings))

    def signalled(self, number: signal.Signals, **settings: str) -> tuple[int, list[str]]:
        """As `run`, with a signal to the script while octnas searches."""
        process = self.start(HOLD="yes", **settings)
        wait_for(lambda: Path(f"{self.events}.ready").exists() or process.poll() is not None)
        process.send_signal(number)
        return self.end(process)


def wait_for(what: Callable[[], bool]) -> None:
    while not what():
        time.sleep(0.02)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    job = Job(tmp_path)
    yield job
    assert not Path(f"/tmp/octnas-{job.id}").exists()


def test_a_head_then_workers_then_the_search_then_an_end(job: Job) -> None:
    code, events = job.run(SLOW="0.3")
    assert code == 0, job.output
    assert events[0] == "srun 1 --nodelist=n1 bash"
    head, workers = events[1], [line for line in events if line.startswith("ray start worker")]
    address = re.search(r"--node-ip-address=(\S+) --port=(\d+)", head)
    assert address is not None
    where = ":".join(address.groups())
    assert where.startswith("127.0.0.1:")
    same = f"--block --disable-usage-stats --temp-dir=/tmp/octnas-{job.id} --num-cpus=8 --num-gpus=4"
    given = f"--head --node-ip-address=127.0.0.1 --port={where[10:]} --include-dashboard=false"
    assert head == f"ray start head {same} {given} (token 64)"
    assert workers == [f"ray start worker {same} --address={where} (token 64)"] * 2
    assert events.index("srun 2 --exclude=n1 bash") > 1
    (search,) = [line for line in events if line.startswith("octnas")]
    assert search.startswith("octnas search --budget-gflops 2.0 ")
    assert search.endswith(f" --name first --cluster auto --storage s3://bucket/octnas ({where})")
    assert sorted(events[-4:-1]) == ["ray end head", "ray end worker", "ray end worker"]
    assert events[-1] == "srun 3  rm"


def test_a_token_is_of_one_run_and_is_neither_printed_nor_on_a_command_line(job: Job) -> None:
    tokens = []
    for _ in range(2):
        _, events = job.run()
        tokens.append(Path(f"{job.events}.token").read_text(encoding="utf-8"))
        assert tokens[-1] not in "\n".join([job.output, *events])
    assert len({*tokens}) == 2
    assert all(re.fullmatch("[0-9a-f]{64}", token) for token in tokens)


def test_near_the_end_of_its_time_it_queues_again_and_goes_on(job: Job) -> None:
    code, events = job.signalled(signal.SIGUSR1)
    assert code == 130
    assert events.index("octnas interrupted") < events.index("ray end head")
    assert events[-1] == f"scontrol requeue {job.id}"
    code, events = job.run()
    assert code == 0, job.output
    (octnas,) = [line for line in events if line.startswith("octnas")]
    assert octnas.startswith("octnas resume first --cluster auto (")
    assert not any("requeue" in line for line in events)


@pytest.mark.parametrize("what", TRAINED)
def test_it_queues_again_after_any_training(job: Job, what: str) -> None:
    job.writes = (*IDLE, TRAINED[what])
    _, events = job.signalled(signal.SIGUSR1)
    assert events[-1] == f"scontrol requeue {job.id}"


def test_a_run_that_trains_nothing_is_not_queued_again(job: Job) -> None:
    job.signalled(signal.SIGUSR1)  # its scores are not those of the next run
    job.writes = IDLE
    code, events = job.signalled(signal.SIGUSR1)
    assert code == 130
    assert "octnas interrupted" in events
    assert not any("requeue" in line for line in events)
    assert "this run trained nothing" in job.output.splitlines()[-1]


def test_a_search_that_ends_as_the_signal_comes_is_not_queued_again(job: Job) -> None:
    octnas = job.folder / "bin/octnas"
    octnas.write_text(octnas.read_text(encoding="utf-8").replace("exit 130", "exit 0"), encoding="utf-8")
    code, events = job.signalled(signal.SIGUSR1)
    assert code == 0
    assert "octnas interrupted" in events
    assert not any("requeue" in line for line in events)


def test_what_is_cancelled_is_not_queued_again(job: Job) -> None:
    code, events = job.signalled(signal.SIGTERM)
    assert code == 130
    assert "ray end head" in events
    assert not any("requeue" in line for line in events)


def test_a_failed_search_fails_the_job(job: Job) -> None:
    code, events = job.run(CODE="2")
    assert code == 2
    assert "ray end head" in events
    assert not any("requeue" in line for line in events)


def test_without_a_head_there_is_no_search(job: Job) -> None:
    code, events = job.run(BROKEN="head")
    assert code == 1
    assert not any(line.startswith("octnas") for line in events)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("gpus", ["", "0"])
def test_without_a_gpu_it_gives_no_shares_of_one(job: Job, gpus: str, there: bool) -> None:
    if there:  # and would go on
        (job.folder / "octnas-runs/first").mkdir(parents=True)
    code, events = job.run(SLURM_GPUS_ON_NODE=gpus)
    assert (code, events) == (2, [])
    (line,) = job.output.splitlines()
    assert "this job has no GPU" in line
    assert "--gpus-per-node" in line


@pytest.mark.parametrize("last", ["--gpus-per-trial 0 ", "--gpus-per-trial=0.0 ", ""])
def test_without_a_gpu_it_trains_on_processors(job: Job, last: str) -> None:
    job.script = job.folder / "slurm.sbatch"
    text = SCRIPT.read_text(encoding="utf-8")
    *before, line = text.splitlines()
    assert "--gpus-per-trial 0.25 " in line
    line = line.replace("--gpus-per-trial 0.25 ", last)
    job.script.write_text("\n".join([*before, line]), encoding="utf-8")
    code, events = job.run(SLURM_GPUS_ON_NODE="")
    assert code == 0, job.output
    (search,) = [each for each in events if each.startswith("octnas")]
    assert last in search
    assert "--num-gpus=0 " in events[1]


def test_it_asks_for_storage_before_anything_starts(job: Job) -> None:
    code, events = job.run(STORAGE="")
    assert (code, events) == (1, [])
    assert "STORAGE: set it to a folder that all nodes share" in job.output
