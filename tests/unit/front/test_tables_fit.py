"""Every table of the command line in a terminal of 80 and of 120 columns: nothing is cut off, one look."""

from __future__ import annotations

import io

import pytest
from front_case import whole
from rich.console import Console

from octnas.architecture import Architecture
from octnas.costs.report import cost_report, cost_table
from octnas.engine import dry_run, dry_run_table
from octnas.front.text import result_text
from octnas.space.report import catalog_report, catalog_table


def _print(renderable: object, width: int) -> str:
    file = io.StringIO()
    Console(width=width, file=file).print(renderable)
    text = file.getvalue()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text
    below_the_chart = text.rpartition("\nFront of ")[2]
    assert not set(below_the_chart) & set("┏┃│┌└"), "tables have one look, without a frame"
    return text


@pytest.mark.parametrize("width", [80, 120])
def test_the_catalog_names_every_space_and_backbone(width: int) -> None:
    report = catalog_report()
    words = _print(catalog_table(report), width).split()
    for space in report:
        assert space["name"] in words
        assert set(space["backbones"]) <= set(words)
        assert f"{space['gflops']['min']:.3f}" in words
        assert space["data"] in words


@pytest.mark.parametrize("width", [80, 120])
def test_a_dry_run_names_every_yardstick_with_its_cost(width: int) -> None:
    report = dry_run("small-2d", budget_gflops=0.03, estimate=False)
    lines = [" ".join(line.split()) for line in _print(dry_run_table(report), width).splitlines()]
    for each in report["yardsticks"]:
        over = "" if each["within_budget"] else ", over the budget"
        wanted = f"{each['label']} {each['backbone']}, {each['gflops']:.3f} GFLOPs{over}"
        assert any(line.endswith(wanted) for line in lines), wanted
    assert any(line.startswith("space small-2d") for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_the_cost_of_every_layer(width: int) -> None:
    report = cost_report(Architecture.uniform("resnet26", alpha="0.5"), by_layer=True)
    lines = [line.split() for line in _print(cost_table(report), width).splitlines()]
    names = [line[0] for line in lines if line]
    assert {layer["name"] for layer in report["layers"]} <= set(names)
    assert ["parameters", f"{report['params']:,}"] in lines


@pytest.mark.parametrize("width", [80, 120])
def test_a_result(width: int) -> None:
    text = " ".join(_print(result_text(whole()), width).split())
    assert "uniform-0.75" in text
    assert "0.25 0.25 0.25 0.00" in text
