"""What a tracking store is told, as plain values."""

from __future__ import annotations

from record_case import complete, header

from octnas.record.tracking_values import record_values, search_params


def test_a_trial_tells_what_it_reached_before_and_after_its_training() -> None:
    values = record_values(complete(shared_accuracy=0.61, latency_ms=12.5), 1000, {1, 2})
    told = {value.name: (value.value, value.step) for value in values}
    assert told["shared_accuracy"] == (0.61, 0)
    assert told["latency_ms"] == (12.5, 0)
    assert told["accuracy"] == (0.7, 2)
    assert not {"shared_accuracy", "latency_ms"} & {value.name for value in record_values(complete(), 0, ())}


def test_a_search_tells_where_its_trials_begin() -> None:
    scratch = search_params(header())
    assert (scratch["init"], scratch["score"], scratch["fine_tune"]) == ("scratch", None, None)
    options = {"init": "shared", "score": 1000, "fine_tune": 2}
    shared = search_params(header(options=options))
    assert {name: shared[name] for name in options} == options
