"""The front page in a real browser: what a person points at, opens, reads, copies and reaches by keys."""

from __future__ import annotations

import re
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from front_shown import READY, Show, entry, in_chart, mark, told
from fronts_drawn import synthetic_search
from playwright.sync_api import Page, expect

from octnas import cost
from octnas.front.picture import write_html
from octnas.record.links import RunLinks
from octnas.record.trainings import Training

sys.path.append(str(Path(__file__).parents[1] / "unit" / "front"))
from front_case import confirmed, mixed, result, seeded, timed, trial, whole


def test_pointing_at_a_mark_says_which_trial_it_is(show: Show) -> None:
    page = show(confirmed())
    page.mouse.move(*mark(page, "5"))
    lines = told(page).splitlines()
    assert lines[0] == "trial 5"
    assert lines[1] == "front, the best"
    assert lines[2] == "93.00 % of the proxy after 1 validation"
    assert "fresh seeds: validation 92.00 ± 0.10 %, test 90.90 ± 0.10 % (3 seeds)" in lines
    assert "1.700 GFLOPs, resnet34" in lines
    assert "stage 1: 0.25 0.25 0.25 0.25 0.25 0.25" in lines
    page.mouse.move(5, 5)
    expect(page.locator("#chart .tip")).to_be_hidden()


def test_marks_stand_where_their_figures_put_them(show: Show) -> None:
    page = show(whole())
    (x4, y4), (x5, y5), (x0, y0) = (in_chart(page, each) for each in ("4", "5", "0"))
    # trial 4: 1.2 GFLOPs, 89 %; trial 5: 1.7, 93 %; uniform-0.25: 1.4, 90 %
    assert (x0 - x4) / (x5 - x4) == pytest.approx((1.4 - 1.2) / (1.7 - 1.2), abs=0.01)
    assert (y0 - y4) / (y5 - y4) == pytest.approx((0.90 - 0.89) / (0.93 - 0.89), abs=0.01)


def test_a_click_opens_the_architecture_and_the_commands(show: Show) -> None:
    searched = synthetic_search(40)
    page = show(searched)
    chosen = searched.front[0]
    x, y = mark(page, chosen.id)
    page.mouse.click(x, y)
    expect(page.locator("#architecture-head")).to_have_text(f"Trial {chosen.id}")
    commands = page.locator("#architecture code").all_inner_texts()
    assert commands == [
        f"octnas train synthetic --trial {chosen.id}",
        f"octnas export synthetic --trial {chosen.id} --to synthetic-{chosen.id}",
    ]
    page.get_by_text("Layer by layer in figures").click()
    rows = [line.split("\t") for line in page.locator("table.layers tbody").inner_text().splitlines()]
    layers = {each.name: each for each in cost(chosen.architecture, (3, 224, 224)).layers}
    assert [row[0] for row in rows] == [each.name for each in chosen.architecture.table().convs]
    for name, stage, channels, low, alpha, gflops, plain in rows:
        layer = layers[name]
        assert (int(stage), int(channels), int(low)) == (layer.stage, layer.channels, layer.low)
        assert float(gflops) == pytest.approx(layer.macs / 1e9, rel=0.05, abs=5e-4)
        assert float(plain) == pytest.approx(layer.plain_macs / 1e9, rel=0.05, abs=5e-4)
        if alpha != "–":
            assert float(alpha) == pytest.approx(layer.low / layer.channels, abs=1e-4)


def test_the_picture_of_an_architecture_has_each_layers_shares(show: Show) -> None:
    searched = synthetic_search(40)
    page = show(searched)
    entry(page, searched.front[0].id).click()
    table = searched.front[0].architecture.table()
    lows = table.lows(searched.front[0].architecture.low_channels)
    shares = [lows[each.name] / each.out_channels for each in table.convs]
    drawn = page.evaluate(
        """() => [...document.querySelectorAll('#architecture .chart rect')].map((rect) =>
            [rect.getAttribute('class'), +rect.getAttribute('x'), +rect.getAttribute('height')])"""
    )
    whole_bar = 150
    high = {round(x, 2): height for kind, x, height in drawn if kind in ("high", "stem")}
    low = {round(x, 2): height for kind, x, height in drawn if kind == "low"}
    assert len(high) == len(shares)
    for x, share in zip(sorted(high), shares, strict=True):
        assert low.get(x, 0) == pytest.approx(whole_bar * share)
        assert high[x] + low.get(x, 0) == pytest.approx(whole_bar)


def test_the_other_cost_has_its_own_front(show: Show) -> None:
    page = show(timed("gflops", gflops=2.0, ms=None))
    x, _ = mark(page, "6")
    page.mouse.move(x, mark(page, "6")[1])
    assert "12.00 ms" not in told(page)
    assert page.locator("#legend").inner_text().count("dominated") == 1
    page.get_by_label("latency (ms)").check()
    expect(page.locator("#about")).to_contain_text("this front is found anew by the other cost")
    groups = page.evaluate(
        "JSON.parse(document.getElementById('data').textContent).searches[0].axes.latency.groups"
    )
    names = page.evaluate("JSON.parse(document.getElementById('data').textContent).searches[0].trials.id")
    on_front = {name for name, group in zip(names, groups, strict=True) if group == 0}
    assert on_front == {"5", "6"}
    assert (
        page.locator("#chart svg > text", has_text="predicted latency of the target network, ms").count() == 1
    )
    assert not page.locator("#axis").is_hidden()


def test_one_cost_needs_no_switch(show: Show) -> None:
    assert show(whole()).locator("#axis").is_hidden()


def test_the_keyboard_reaches_every_point_of_the_picture(show: Show) -> None:
    page = show(whole())
    page.locator("#chart .glass").focus()
    seen = []
    page.keyboard.press("Home")
    for _ in range(8):
        seen.append(told(page).splitlines()[0])
        page.keyboard.press("ArrowRight")
    assert len(set(seen)) == 8
    with_accuracy = {each.id for each in whole().records if each.accuracy is not None}
    assert {name.split(" ")[-1] for name in seen if name.startswith("trial")} == with_accuracy - {
        "0",
        "1",
        "2",
        "3",
    }
    page.keyboard.press("Home")
    first = told(page).splitlines()[0]
    page.keyboard.press("Enter")
    expect(page.locator("#architecture-head")).to_have_text(first[0].upper() + first[1:])
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.closest('#chart') !== null")


def test_the_keyboard_reaches_every_trial_of_the_table(show: Show) -> None:
    page = show(whole())
    entry(page, "0").focus()
    for trial_id in map(str, range(10)):
        assert page.evaluate("document.activeElement.dataset.trial") == trial_id
        page.keyboard.press("ArrowDown")
    entry(page, "0").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.trial") == "1"
    page.keyboard.press("Enter")
    expect(page.locator("#architecture-head")).to_have_text("Uniform-0.75 resnet34")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.trial") == "1"


def test_every_trial_has_one_element_that_takes_the_focus(show: Show) -> None:
    searched = synthetic_search(400)
    page = show(searched)
    found = page.evaluate(
        """() => [...document.querySelectorAll('[data-trial]')].map((each) => {
            each.focus();
            return document.activeElement === each && each.tabIndex === 0 ? each.dataset.trial : null;
        })"""
    )
    assert found == [each.id for each in searched.records]


def test_strings_of_users_and_runs_are_text(show: Show) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>$name\u2028'\""
    records = (
        replace(seeded(trial("1", 1.0, 0.9, yardstick=evil), (0.9, 0.91))),
        replace(trial("2", 1.5, 0.95), reason=evil),
        trial("3", 1.6, 0.97),
    )
    page = show(result(*records, name=evil))
    assert page.locator("h1").inner_text() == f"Accuracy against compute: {evil}".replace("\u2028", "\u2028")
    entry(page, "2").click()
    assert evil in page.locator("#architecture-body").inner_text()
    page.mouse.move(*mark(page, "1"))
    assert told(page).startswith(evil[:40])
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 2


def test_the_page_asks_for_nothing(page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    write_html(confirmed(), tmp_path / "front.html")
    page.goto((tmp_path / "front.html").as_uri())
    page.wait_for_function(READY)
    assert asked == [(tmp_path / "front.html").as_uri()]


def test_copy_puts_the_command_where_it_can_be_pasted(show: Show) -> None:
    page = show(whole())
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    entry(page, "4").click()
    page.get_by_role("button", name="Copy octnas train first --trial 4").click()
    expect(page.get_by_role("button", name="Copy octnas train first --trial 4")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "octnas train first --trial 4"


def test_links_lead_to_the_runs(show: Show) -> None:
    links = RunLinks(uri="http://tracking:5000", experiment_id="3", run_id="parent", trials={"4": "child"})
    page = show(whole(), links={"first": links})
    entry(page, "4").click()
    link = page.get_by_role("link", name="Run in MLflow", exact=True)
    assert link.get_attribute("href") == links.trial_page("4")
    assert str(link.get_attribute("href")).startswith("http://tracking:5000/#/experiments/3/runs/child")
    entry(page, "5").click()
    link = page.get_by_role("link", name="The search's run in MLflow")
    assert link.get_attribute("href") == links.search_page


def test_of_a_local_store_the_page_names_the_command_that_shows_it(show: Show) -> None:
    links = RunLinks(uri="sqlite:////somewhere/mlflow.db", experiment_id="3", run_id="parent", trials={})
    page = show(whole(), links={"first": links})
    assert page.locator("#architecture code").all_inner_texts()[0] == "octnas dashboard first"


def test_what_was_trained_in_full_is_told_apart(show: Show) -> None:
    full = (
        Training(trial_id="5", scale="full", epochs=12, accuracy=0.945, test_accuracy=0.941),
        Training(trial_id="5", scale="proxy", epochs=3, accuracy=0.925),
    )
    page = show(replace(whole(), trainings=full))
    assert page.locator("#legend").get_by_text("trained in full (not of the proxy)").count() == 1
    page.mouse.move(*mark(page, "5"))
    assert "trained by octnas train (full, 12 epochs): 94.50 %, 94.10 % on test data" in told(page)
    assert page.locator("#chart path.star").count() == 1
    row = page.locator("#trials tr", has=entry(page, "5")).inner_text()
    assert "94.50 %" in row


def test_the_noise_of_one_seed_is_drawn_to_scale(show: Show) -> None:
    page = show(replace(whole(), header=replace(whole().header, options={"noise_points": 0.8})))
    (_, y4), (_, y5) = in_chart(page, "4"), in_chart(page, "5")
    box = page.locator("#chart path.noise").bounding_box()
    assert box is not None
    points = (93.0 - 89.0) * box["height"] / (y4 - y5)
    assert points == pytest.approx(2 * 0.8, rel=0.1)
    assert page.locator("#chart svg > text", has_text="seed noise: ± 0.80 points (1 s.d.)").count() == 1
    assert show(whole()).locator("#chart path.noise").count() == 0


def test_unticking_hides_and_ticking_shows(show: Show) -> None:
    page = show(whole())
    marks = page.locator("#chart g path")
    before = marks.count()
    page.locator("#legend").get_by_label("dominated").uncheck()
    assert marks.count() == before - 1
    page.locator("#legend").get_by_label("dominated").check()
    assert marks.count() == before


def test_dragging_looks_closer_and_back(show: Show) -> None:
    page = show(synthetic_search(200))
    chart = page.locator("#chart svg").first
    marks = page.locator("#chart g path")
    before = marks.count()
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 300, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 600, box["y"] + 300, steps=4)
    page.mouse.up()
    assert 0 < marks.count() < before
    page.get_by_role("button", name="Whole picture").click()
    assert marks.count() == before


def test_the_table_sorts_and_filters(show: Show) -> None:
    page = show(whole())

    def ids() -> list[str]:
        return list(
            page.evaluate(
                "[...document.querySelectorAll('tr:not([hidden]) [data-trial]')].map((b) => b.dataset.trial)"
            )
        )

    accuracy = page.locator("#trials thead").get_by_role("button", name="accuracy")
    accuracy.click()
    assert ids() == ["7", "9", "4", "0", "3", "1", "6", "5", "2", "8"]
    accuracy.click()
    assert ids() == ["2", "5", "6", "1", "3", "0", "4", "9", "7", "8"]
    page.locator("#filter").select_option("front")
    assert set(ids()) == {"0", "1", "2", "3", "4", "5"}
    assert page.locator("#shown").inner_text() == "6 of 10 trials"


def test_two_searches_lie_over_one_another(show: Show) -> None:
    page = show(synthetic_search(30), synthetic_search(30, name="second", seed=1))
    assert page.locator("h1").inner_text() == "Accuracy against compute: synthetic and second"
    assert page.locator("#chart path.front-line").count() == 2
    page.locator('[data-trial="7"][data-search="second"]').click()
    expect(page.locator("#architecture-head")).to_contain_text("rial 7 of second")
    assert page.locator("#architecture code").first.inner_text() == "octnas train second --trial 7"
    page.locator("#legend").get_by_label("second").uncheck()
    assert page.locator("#chart path.front-line").count() == 1


def test_3d_backbones_have_a_plus(show: Show) -> None:
    page = show(mixed())
    assert page.locator("#chart path.whiskers").count() == sum(
        each.architecture.dims == 3 for each in mixed().records
    )
    assert page.locator("#legend").get_by_text("3D backbone").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_letters_can_be_read_in_both_themes(show: Show, scheme: Any) -> None:
    """WCAG 2.2, 1.4.3 and 1.4.11: 4.5 to 1 for text, 3 to 1 for what pictures are read by."""
    page = show(timed(gflops=1.95))
    page.emulate_media(color_scheme=scheme)
    values = page.evaluate(
        """() => Object.fromEntries(['paper', 'ink', 'muted', 'panel', 'over', 'low', 'high', 'warn', 'link',
            'slower', 'cost'].map((name) => {
                document.body.style.color = `var(--${name})`;
                return [name, getComputedStyle(document.body).color];
            }))"""
    )
    for behind in ("paper", "panel", "over"):
        for name in ("ink", "muted", "warn", "link"):
            assert contrast(values[name], values[behind]) >= 4.5, (scheme, name, behind)
    for name in ("low", "high", "slower", "cost"):
        assert contrast(values[name], values["paper"]) >= 3, (scheme, name)
    assert luminance(values["paper"]) > 0.9 if scheme == "light" else luminance(values["paper"]) < 0.05


def test_the_theme_can_be_chosen(show: Show) -> None:
    page = show(whole())
    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 25, 31)"
    page.get_by_role("button", name="Light").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_page_fits_a_narrow_frame(show: Show) -> None:
    page = show(confirmed())
    page.set_viewport_size({"width": 500, "height": 700})
    expect(page.locator("#chart svg").first).to_have_attribute("width", re.compile(r"^4\d\d$"))
    assert page.evaluate("document.documentElement.scrollWidth") <= 500


def test_the_other_pictures_are_there(show: Show) -> None:
    searched = synthetic_search(60)
    page = show(searched)
    for section in ("wanted", "volume", "survival", "workers"):
        assert page.locator(f"#{section}").is_visible()
    bars = page.evaluate("[...document.querySelectorAll('#workers g rect')].length")
    assert bars == len(searched.spans)
    assert page.locator("#workers svg text", has_text="node-1/4711").count() == 1
    rows = page.evaluate("JSON.parse(document.getElementById('data').textContent).searches[0].survival")
    assert page.locator("#survival .chart rect.high").count() == sum(row["complete"] > 0 for row in rows)
    empty = show(result())
    for section in ("wanted", "volume", "survival", "workers"):
        assert empty.locator(f"#{section}").is_hidden()


def test_five_thousand_trials(show: Show, capsys: pytest.CaptureFixture[str]) -> None:
    searched = synthetic_search(5000)
    page = show(searched)
    first = page.evaluate("performance.getEntriesByName('octnas-front')[0].startTime")
    times = page.evaluate(HOVERS)
    with capsys.disabled():
        middle, worst = statistics.median(times), max(times)
        print(f"\n5,000 trials: front after {first:.0f} ms; hover {middle:.1f} ms, {worst:.1f} ms at worst")
    best = searched.best
    assert best is not None
    page.mouse.move(*mark(page, best.id))
    assert told(page).startswith(f"trial {best.id}\n")
    page.mouse.click(*mark(page, best.id))
    expect(page.locator("#architecture code").first).to_have_text(f"octnas train synthetic --trial {best.id}")
    entry(page, "4321").click()
    expect(page.locator("#architecture-head")).to_have_text("Trial 4321")


HOVERS = """async () => {
    const glass = document.querySelector('#chart .glass');
    const edge = glass.getBoundingClientRect();
    const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    const times = [];
    for (let k = 0; k < 40; k += 1) {
        await frame();
        const start = performance.now();
        glass.dispatchEvent(new PointerEvent('pointermove', {
            clientX: edge.left + 100 + (k * 137) % (edge.width - 300),
            clientY: edge.top + 60 + (k * 53) % 350,
        }));
        document.querySelector('#chart .tip').getBoundingClientRect();
        times.push(performance.now() - start);
    }
    return times;
}"""


def luminance(colour: str) -> float:
    """Relative luminance of "rgb(r, g, b)", WCAG 2.2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's ratio of two colours, 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
