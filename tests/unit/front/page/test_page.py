"""The page as a whole: what it fetches (nothing), how foreign strings stand in it, pages of every search."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from front_case import PROFILE, confirmed, mixed, result, seeded, timed, trial, whole
from page_case import Page, page_of

from octnas.architecture import Architecture
from octnas.front import SearchResult
from octnas.front.picture import html_page, write_html
from octnas.front.shared import Shared
from octnas.front.spans import Span
from octnas.record import SharedScore, SupernetRecord, TrialRecord, TrialState
from octnas.record.links import RunLinks
from octnas.record.trainings import Training

EVIL = {
    "script": "<script>alert(1)</script>",
    "end of a script": "</script><script>alert(2)</script>",
    "comment": "<!--<script>",
    "end of a comment": "--> ]]> <![CDATA[ <?php ?>",
    "image": "<img src=x onerror=alert(3)>",
    "attribute": '" onmouseover="alert(4)" data-trial="0',
    "single quotes": "' onfocus='alert(5)' autofocus='",
    "template": "$title ${script} $$ $made $",
    "entities": "&lt;b&gt; &amp; &#60; &quot;",
    "lines": "one\ntwo\u2028three\u2029four\x0bfive",
    "no text": "caf\u00e9 \U0001f600 \u202eleft \u0000 \x1b[31m",
    "backslashes": '\\u003cscript\\u003e \\" \\n </style></title></textarea>',
}


def _named(searched: SearchResult, name: str) -> SearchResult:
    return replace(searched, header=replace(searched.header, name=name))


def _score(record: TrialRecord) -> SharedScore:
    return SharedScore(architecture=record.architecture, accuracy=0.9, loss=1.0, gflops=1.5)


def _everything(text: str) -> SearchResult:
    """A search with a string from outside wherever one may stand."""
    records = (
        seeded(trial(f"y{text}", 1.4, 0.90, yardstick=f"uniform-{text}"), (0.9, 0.91), (0.9, 0.92)),
        replace(trial(f"a{text}", 1.2, 0.89, state=TrialState.STOPPED), reason=f"stopped {text}"),
        replace(trial("8", 1.1, None, state=TrialState.FAILED), reason=f"failed {text}"),
        trial("over", 4.0, 0.95, yardstick=f"plain {text}"),
        seeded(trial(f"b{text}", 1.7, 0.93), (0.92, 0.93), (0.9, 0.91)),
    )
    searched = result(
        *(replace(each, latency_ms=12.0, shared_accuracy=0.5) for each in records),
        name=f"name {text}",
        profile={**PROFILE, "device": f"device {text}", "runtime": f"runtime {text}"},
        options={
            "init": f"/weights/{text.replace('/', '|')}",
            "plain_latency_ms": {"resnet18": 11.0},
            "proxy_widths": {"resnet18": 32},
        },
    )
    header = replace(
        searched.header,
        data=f"/data/{text}",
        space=f"space {text}",
        data_fingerprint=text,
        tracking_uri=f"http://{text}",
    )
    supernet = SupernetRecord(backbone=f"net {text}", state="failed", reason=f"dropped {text}", epochs=1)
    return replace(
        searched,
        header=header,
        rank_warning=f"warning {text}",
        shared=Shared(asked=1, scores=(_score(searched.records[4]),), supernets=(supernet,), predictor=None),
        spans=(
            Span(trial_id=f"b{text}", start=0.0, end=2.0, ending="complete", worker=f"host {text}/1", lane=0),
        ),
        trainings=(Training(trial_id=f"b{text}", scale="full", epochs=1, accuracy=0.9),),
    )


def _links(text: str) -> RunLinks:
    trials = {"8": f"run {text}", f"b{text}": f"run {text}"}
    return RunLinks(uri="http://tracking:5000", experiment_id=f"3{text}", run_id=f"aa{text}", trials=trials)


def _page(text: str) -> Page:
    searched = _everything(text)
    return page_of(searched, links={searched.name: _links(text)})


# ---------------------------------------------------------------- strings from outside
@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_strings_of_users_and_runs_are_text_in_the_document(text: str) -> None:
    page, clean = _page(text), _page("fine")
    assert page.tags == clean.tags
    assert page.fetched == clean.fetched == []
    assert page.handlers == clean.handlers == []
    assert page.others == clean.others == []
    assert len(page.buttons) == 5
    assert len(page.rows) == 5
    # What a parser of HTML makes of it: NUL is nothing that a document can hold.
    shown = text.replace("\x00", "\ufffd")
    said = page.words.replace("\x00", "\ufffd")
    for words in (f"name {shown}", f"/data/{shown}", f"space {shown}", f"device {shown}", f"warning {shown}"):
        assert words in said
    assert f"net {shown}: failed after 1 epoch" in said
    assert page.title.replace("\x00", "\ufffd").endswith(f"name {shown}")
    states = {row["state"].replace("\x00", "\ufffd") for row in page.rows}
    assert {f"stopped: stopped {shown}", f"failed: failed {shown}"} <= states
    assert page.buttons[0][0].replace("\x00", "\ufffd") == f"y{shown}"


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_the_data_parses_back_to_the_very_strings(text: str) -> None:
    searched, search = _everything(text), _page(text).search
    assert search["name"] == searched.name
    assert search["trials"]["id"] == [record.id for record in searched.records]
    assert search["trials"]["yardstick"] == [record.yardstick for record in searched.records]
    assert search["trials"]["reason"] == {"1": f"stopped {text}", "2": f"failed {text}"}
    assert search["axes"]["latency"]["below"], "the device"
    assert f"device {text}" in search["units"]
    assert [each[1] for each in search["spans"]] == [f"host {text}/1"]
    ((_, _, _, lines),) = search["cloud"]["gflops"]["points"]
    assert lines[1] == f"trained as trial {searched.records[4].id}"
    assert text in " ".join(label[1] for label in search["axes"]["gflops"]["labels"])
    trial_page = search["links"]["trials"][2]
    assert trial_page == _links(text).trial_page("8")


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_of_several_searches_the_name_is_text_too(text: str) -> None:
    other = replace(whole(), header=replace(whole().header, name="other"))
    page, clean = page_of([_everything(text), other]), page_of([_everything("fine"), other])
    assert page.tags == clean.tags
    assert page.others == []
    name = f"name {text}"
    assert {search for _, search in page.buttons} == {name, "other"}
    assert {row["search"] for row in page.rows} == {name, "other"}


def test_the_data_cannot_end_its_script_however_the_parser_reads_it() -> None:
    """In a script "<!--" and "<script" too change what ends it; so no "<" stands there at all."""
    for text in EVIL.values():
        page = _page(text).text
        data = page.split('id="data">')[1].split("</script>")[0]
        assert "<" not in data
        assert "\u2028" not in data
        assert data.isascii()


def test_a_path_that_is_no_text_is_written_all_the_same(tmp_path: Path) -> None:
    name = b"/data/caf\xe9".decode("utf-8", "surrogateescape")
    searched = replace(whole(), header=replace(whole().header, data=name))
    write_html(searched, tmp_path / "front.html")
    assert "data /data/caf?, budget" in Page((tmp_path / "front.html").read_text(encoding="utf-8")).words


def test_the_own_code_ends_no_script_and_no_style() -> None:
    page = html_page(whole())
    assert page.count("<script") == page.count("</script>") == 2
    assert page.count("<style") == page.count("</style>") == 1
    assert "<!--" not in page


def test_no_name_of_the_template_is_left() -> None:
    page = html_page([confirmed(), _named(mixed(), "second")])
    page = page.split("<script>")[0] + page.rsplit("</script>", 1)[1]
    assert re.findall(r"\$\{?[a-z]+", page) == []


# ---------------------------------------------------------------- no network
@pytest.mark.parametrize(
    "results",
    [
        whole(),
        confirmed(),
        timed(gflops=1.95),
        [whole(), replace(mixed(), header=replace(mixed().header, name="b"))],
    ],
    ids=["whole", "confirmed", "timed", "two"],
)
def test_nothing_is_fetched(results: SearchResult | Sequence[SearchResult]) -> None:
    page = page_of(results)
    assert page.fetched == []
    assert not {"link", "iframe", "object", "embed", "img", "base", "form", "audio", "video"} & set(page.tags)
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page.text), "a part of the page itself at most"
    code = page.text.split("<script>")[1]
    calls = r"\bfetch\(|XMLHttpRequest|WebSocket|EventSource|sendBeacon|\bimport\(|\beval\(|new Function"
    assert not re.search(calls, code)


def test_its_policy_forbids_the_network() -> None:
    policy = dict(each.strip().split(" ", 1) for each in page_of(whole()).policy.split(";") if each.strip())
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'unsafe-inline'"
    assert policy.get("img-src", "data:") == "data:"
    assert not {"connect-src", "font-src", "frame-src", "worker-src", "media-src", "object-src"} & set(policy)
    text = page_of(whole()).text
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script")


# ---------------------------------------------------------------- pages of any search
def _sections(page: Page) -> dict[str, int]:
    (search,) = page.data["searches"]
    return {
        "trials": len(search["trials"]["id"]),
        "wanted": len(search["wanted"]),
        "volume": len(search["volume"]["points"]),
        "survival": len(search["survival"]),
    }


def test_a_page_of_an_empty_search() -> None:
    page = page_of(result())
    assert page.rows == page.buttons == []
    assert _sections(page) == {"trials": 0, "wanted": 0, "volume": 0, "survival": 0}
    axis = page.search["axes"]["gflops"]
    assert (axis["front"], axis["best"], axis["labels"], axis["groups"]) == ([], None, [], [])
    assert axis["range"][0] < axis["range"][1]
    assert axis["range"][2] < axis["range"][3]
    assert "no trials; hypervolume 0.0000" in page.words
    assert "No candidate is complete, so nothing can be said about the search yet." in page.words


def test_a_page_of_an_empty_search_without_a_budget_on_its_axis() -> None:
    page = page_of(result(budget=None, budget_ms=24.0, objective="gflops", profile=PROFILE))
    axis = page.search["axes"]["gflops"]
    assert axis["budget"] is None
    assert axis["range"][0] < axis["range"][1]


def test_a_page_without_any_complete_trial() -> None:
    page = page_of(
        result(trial("1", 1.0, 0.3, state=TrialState.STOPPED), trial("2", 1.2, 0.4, state=TrialState.RUNNING))
    )
    assert _sections(page) == {"trials": 2, "wanted": 0, "volume": 0, "survival": 1}
    assert page.search["axes"]["gflops"]["groups"] == [2, 2]
    assert page.search["axes"]["gflops"]["best"] is None
    assert page.row["1"]["accuracy"] == "30.00 %"


def test_a_page_of_failed_trials_alone() -> None:
    page = page_of(result(*(trial(str(place), 1.0, None, state=TrialState.FAILED) for place in range(3))))
    assert _sections(page) == {"trials": 3, "wanted": 0, "volume": 0, "survival": 0}
    assert page.search["axes"]["gflops"]["groups"] == [-1, -1, -1]
    assert {row["state"] for row in page.rows} == {"failed: loss is nan in epoch 1"}
    assert {row["accuracy"] for row in page.rows} == {"-"}
    assert "3 failed; hypervolume 0.0000" in page.words


def test_a_page_of_one_trial() -> None:
    page = page_of(result(trial("1", 1.0, 0.9)))
    assert _sections(page) == {"trials": 1, "wanted": 1, "volume": 1, "survival": 1}
    axis = page.search["axes"]["gflops"]
    assert (axis["best"], axis["front"]) == (0, [[1.0, 0.9], [2.0, 0.9]])
    assert axis["range"][0] < 1.0 < axis["range"][1]
    assert axis["range"][2] < 0.9 < axis["range"][3]


def test_a_page_of_shared_weights_by_themselves() -> None:
    weights = SupernetRecord(backbone="resnet18", state="complete", epochs=8, accuracy=0.62, seconds=92.4)
    shared = Shared(asked=0, scores=(), supernets=(weights,), predictor=None)
    searched = replace(result(options={"kind": "supernet", "init": "shared"}), shared=shared)
    page = page_of(searched)
    assert page.rows == []
    assert "These are shared weights by themselves" in page.words
    assert "resnet18: complete after 8 epochs, plain network 62.00 % on shared weights, 92 s" in page.words


def test_no_result_is_refused() -> None:
    with pytest.raises(ValueError, match="a page needs one result or more, but got none"):
        html_page([])


# ---------------------------------------------------------------- what is said
OTHERS = "These searches have other spaces, data or starting weights"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, False),
        ({"seed": 7}, False),
        ({"budget_gflops": 1.5}, False),
        ({"space_yaml": "name: other"}, True),
        ({"data": "fashion"}, True),
        ({"options": {"init": "shared"}}, True),
    ],
)
def test_searches_of_other_proxies_are_said_to_be(changes: dict[str, object], said: bool) -> None:
    second = replace(whole(), header=replace(whole().header, name="second", **changes))
    assert (OTHERS in page_of([whole(), second]).words) == said
    assert OTHERS not in page_of(second).words


def test_the_same_data_at_another_path_is_the_same() -> None:
    def at(name: str, path: str, print_: str) -> SearchResult:
        header = replace(whole().header, name=name, data=path, data_fingerprint=print_)
        return replace(whole(), header=header)

    assert OTHERS not in page_of([at("a", "/here/x", "f1"), at("b", "/there/x", "f1")]).words
    assert OTHERS in page_of([at("a", "/here/x", "f1"), at("b", "/here/x", "f2")]).words


def test_each_search_has_its_head() -> None:
    second = replace(confirmed(), header=replace(confirmed().header, name="second", seed=4))
    page = page_of([whole(), second])
    assert page.title == "Accuracy against compute: first and second"
    assert page.text.count('<div class="search">') == 2
    assert "<h2>first</h2>" in page.text
    assert "<h2>second</h2>" in page.text
    assert "data glyphs, budget 2 GFLOPs, seed 4; " in page.words
    alone = page_of(whole())
    assert "<h2>first</h2>" not in alone.text
    counts = "1 running, 7 complete, 1 stopped, 1 failed; hypervolume"
    assert f"{counts} {whole().hypervolume:.4f}" in alone.words


def test_the_answer_stands_first_and_warnings_are_marked() -> None:
    said = 'tau is 0.41 & "low"'
    page = html_page(replace(confirmed(), rank_warning=said))
    assert page.index('<p class="claim">') < page.index('<p class="warn">')
    assert f'<p class="warn">{html.escape(said)}</p>' in page
    assert '<p class="claim">' not in html_page(whole())


def test_it_says_when_it_was_made() -> None:
    found = re.search(r'<time datetime="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d)">', html_page(whole()))
    assert found is not None


def test_a_deep_search_of_every_kind_of_backbone_has_a_page() -> None:
    names = ("resnet152", "densenet121", "mobilenet_v2", "se_resnet50", "resnext50_32x4d", "wide_resnet50_2")
    records = []
    for place, name in enumerate(names):
        architecture = Architecture.uniform(name, alpha="0.5", downsample="pooled")
        records.append(
            replace(trial(str(place), 1.0 + place / 10, 0.5 + place / 10), architecture=architecture)
        )
    page = page_of(result(*records))
    assert [each["name"] for each in page.search["backbones"]] == list(names)
    lengths = [len(each["layers"]) for each in page.search["backbones"]]
    assert [len(layers) for layers in page.search["trials"]["layers"]] == lengths
