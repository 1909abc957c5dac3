from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from record_case import complete, running, score

from octnas.errors import RunError
from octnas.record import Journal, TrialState


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    (tmp_path / "run").mkdir()
    return Journal(tmp_path / "run" / "journal.jsonl")


def _events(journal: Journal) -> list[str]:
    return [event["event"] for event in journal.read()]


def test_what_is_appended_is_read(journal: Journal) -> None:
    with journal.exclusive():
        journal.append({"event": "search", "header": {"name": "é"}})
        journal.append_trial(complete("1"))
        journal.append({"event": "sampler", "state": [1, 2]})
    assert _events(journal) == ["search", "trial", "sampler"]
    assert journal.read()[0]["header"] == {"name": "é"}
    assert journal.records() == [complete("1")]


def test_each_append_is_on_the_disk_before_it_returns(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        real(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", spy)
    written: list[int] = []
    for _ in range(2):  # lines differ in length: a time may end in a zero that JSON leaves out
        journal.append({"event": "resume"})
        written.append(journal.path.stat().st_size)
    assert synced == written
    assert written[0] < written[1]


def test_scores_are_added_to_the_trial_that_was_under_way(journal: Journal) -> None:
    journal.append_trial(running("1"))
    journal.append_trial(running("2"))
    journal.append_score("1", score(1, 0.4))
    journal.append_score("1", score(2, 0.6))
    first, second = journal.records()
    assert (first.id, first.state, first.epochs, first.accuracy) == ("1", TrialState.RUNNING, 2, 0.6)
    assert [each.accuracy for each in first.scores] == [0.4, 0.6]
    assert (second.epochs, second.accuracy) == (0, None)


def test_the_last_line_of_a_trial_counts_and_a_final_one_keeps_its_accuracy(journal: Journal) -> None:
    journal.append_trial(running("1"))
    journal.append_score("1", score(1, 0.4))
    journal.append_trial(complete("1", (0.4, 0.9)))
    journal.append_score("1", score(3, 0.1))
    assert journal.records() == [complete("1", (0.4, 0.9))]


def test_a_trial_started_again_keeps_its_rung_scores(journal: Journal) -> None:
    journal.append_trial(running("1").with_score(score(1, 0.4)))
    journal.append_trial(running("1"))
    journal.append_score("1", score(2, 0.5))
    assert [each.accuracy for each in journal.records()[0].scores] == [0.4, 0.5]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_truncated_last_line_is_left_out_and_written_over(journal: Journal, cut: int) -> None:
    journal.append_trial(complete("1"))
    journal.append_trial(complete("2"))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[: -1 - cut])
    assert [record.id for record in journal.records()] == ["1"]
    assert journal.path.read_bytes() == whole[: -1 - cut], "reading changes nothing"
    journal.append_trial(complete("3"))
    assert [record.id for record in journal.records()] == ["1", "3"]
    assert all(json.loads(line) for line in journal.path.read_text().splitlines())


def test_a_last_line_that_lacks_only_its_end_of_line_counts(journal: Journal) -> None:
    journal.append_trial(complete("1"))
    journal.path.write_bytes(journal.path.read_bytes()[:-1])
    assert [record.id for record in journal.records()] == ["1"]
    journal.append_trial(complete("2"))
    assert [record.id for record in journal.records()] == ["1", "2"]


def test_a_last_line_of_which_the_other_half_comes_meanwhile_is_no_damage(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process reads while a search writes."""
    journal.append_trial(complete("1"))
    before = journal.path.read_bytes()
    journal.append_trial(complete("2"))
    whole, half, read = journal.path.read_bytes(), len(before) + 30, json.loads
    journal.path.write_bytes(whole[:half])

    def meanwhile(text: str) -> object:
        if not text.endswith("\n"):
            with journal.path.open("ab") as file:
                file.write(whole[half:])
        return read(text)

    with monkeypatch.context() as patched:
        patched.setattr("octnas.record.journal.json.loads", meanwhile)
        assert [event["trial"]["id"] for event in journal.events()] == ["1"]
    assert journal.path.read_bytes() == whole
    assert [record.id for record in journal.records()] == ["1", "2"]


def test_zeros_after_a_power_cut_are_left_out(journal: Journal) -> None:
    journal.append_trial(complete("1"))
    with journal.path.open("ab") as file:
        file.write(bytes(100))
    assert [record.id for record in journal.records()] == ["1"]
    journal.append({"event": "resume"})
    assert _events(journal) == ["trial", "resume"]


@pytest.mark.parametrize("damage", [b'{"event": "tr', b"\xff\xfe", b"[1, 2]", b'{"no": "event"}'])
def test_a_damaged_line_in_the_middle_is_named(journal: Journal, damage: bytes) -> None:
    journal.append({"event": "resume"})
    with journal.path.open("ab") as file:
        file.write(damage + b"\n")
    with journal.path.open("ab") as file:
        file.write(b'{"event": "resume"}\n')
    with pytest.raises(RunError, match=r"line 2 of .*journal.jsonl is damaged"):
        journal.read()


def test_a_number_that_is_not_finite_is_refused_and_leaves_no_trace(journal: Journal) -> None:
    journal.append({"event": "resume"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        journal.append_score("1", score(1, math.nan))
    assert _events(journal) == ["resume"]


def test_a_full_disk_is_one_line_and_leaves_no_half_line(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append({"event": "resume"})
    before = journal.path.read_bytes()
    real = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) > 20:
            return real(descriptor, content[:20])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with journal.exclusive():
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            with pytest.raises(
                RunError, match=r"cannot write .*journal\.jsonl: No space left on device; free space"
            ):
                journal.append({"event": "end"})
        assert journal.path.read_bytes() == before
        journal.append({"event": "end"})
    assert _events(journal) == ["resume", "end"]


def test_a_folder_that_is_not_there_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"cannot write .*; free space or permit writing there, or set OCTNAS_HOME"
    ):
        Journal(tmp_path / "gone" / "journal.jsonl").append({"event": "resume"})


def test_a_second_process_is_refused_until_the_first_lets_go(journal: Journal) -> None:
    code = (
        "import sys\n"
        "from octnas.errors import RunError\n"
        "from octnas.record import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "print(journal.in_use)\n"
        "try:\n"
        "    journal.append({'event': 'resume'})\n"
        "    print('written')\n"
        "except RunError as error:\n"
        "    print(error)\n"
    )

    def second() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, str(journal.path)], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    with journal.exclusive():
        journal.append({"event": "search"})
        refused = second()
        assert refused[0] == "True"
        assert refused[1].startswith(f"'run' is in use by process {os.getpid()} on ")
        assert refused[1].endswith("wait for it or choose another --name")
    assert second() == ["False", "written"]
    assert _events(journal) == ["search", "resume"]


def test_the_lock_dies_with_its_process_even_where_a_forked_child_lives_on(journal: Journal) -> None:
    code = (
        "import os, sys, time\n"
        "from octnas.record import Journal\n"
        "Journal(sys.argv[1]).acquire()\n"
        "if os.fork() == 0:\n"
        "    os.close(1)\n"
        "    sys.stdin.read()\n"
        "    os._exit(0)\n"
        "time.sleep(0.2)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(journal.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.wait(timeout=60) == -9
        assert not journal.in_use
        journal.append({"event": "resume"})
    assert _events(journal) == ["resume"]
