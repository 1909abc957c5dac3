"""How fast the front page is in a real browser: made, drawn, and under the pointer.

    python benchmarks/front_page.py --trials 60 --trials 5000

For each size a synthetic search is written as a page and opened in Chromium several times: when its front was
drawn (from the start of the navigation), when all of the page was, and how long after a pointer moved to
another mark the browser had shown that frame. Medians, and the worst hover. With `--plotly` (where that is
installed) also a page with nothing but as many points drawn by Plotly, which drew the front before.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import processor, versions
from playwright.sync_api import Page, sync_playwright

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from fronts_drawn import synthetic_search

from octnas.front.picture import html_page

_HOVERS = """async (count) => {
    const glass = document.querySelector('#chart .glass');
    const edge = glass.getBoundingClientRect();
    const shown = () => new Promise((done) => requestAnimationFrame(() => {
        const after = new MessageChannel();
        after.port1.onmessage = done;
        after.port2.postMessage(0);
    }));
    const times = [];
    for (let k = 0; k < count; k += 1) {
        await shown();
        const start = performance.now();
        glass.dispatchEvent(new PointerEvent('pointermove', {
            clientX: edge.left + 100 + (k * 137) % (edge.width - 300),
            clientY: edge.top + 60 + (k * 53) % (edge.height - 160),
        }));
        await shown();
        times.push(performance.now() - start);
    }
    return times;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, action="append", help="of a page; may be repeated")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--plotly", action="store_true", help="also draw as many points by Plotly")
    options = parser.parse_args()
    print(f"{processor()}; {versions('octnas')}; {_chromium()}\n")
    print("| trials | page, MB | made, s | front drawn, ms | all drawn, ms | hover, ms | worst hover, ms |")
    print("|---|---|---|---|---|---|---|")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-background-networking"],
        )
        for trials in options.trials or [60, 5000]:
            searched = synthetic_search(trials)
            start = time.perf_counter()
            text = html_page(searched)
            made = time.perf_counter() - start
            path = Path(folder) / f"{trials}.html"
            path.write_text(text, encoding="utf-8")
            fronts, wholes, hovers = [], [], []
            for _ in range(options.repeats):
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(path.as_uri())
                page.wait_for_function("performance.getEntriesByName('octnas-ready').length")
                fronts.append(_mark(page, "octnas-front"))
                wholes.append(_mark(page, "octnas-ready"))
                hovers += page.evaluate(_HOVERS, 40)
                page.close()
            megabytes = len(text.encode()) / 1e6
            drawn = " | ".join(f"{statistics.median(each):.0f}" for each in (fronts, wholes))
            hover = f"{statistics.median(hovers):.1f} | {max(hovers):.1f}"
            print(f"| {trials:,} | {megabytes:.2f} | {made:.2f} | {drawn} | {hover} |", flush=True)
            if options.plotly:
                costs = [each.gflops for each in searched.records]
                text = _by_plotly(costs, [each.accuracy for each in searched.records])
                path.write_text(text, encoding="utf-8")
                times = []
                for _ in range(options.repeats):
                    page = browser.new_page(viewport={"width": 1280, "height": 900})
                    page.goto(path.as_uri())
                    page.wait_for_function("performance.getEntriesByName('octnas-front').length")
                    times.append(_mark(page, "octnas-front"))
                    page.close()
                megabytes, drawn = len(text.encode()) / 1e6, statistics.median(times)
                print(f"| {trials:,} by Plotly | {megabytes:.2f} | - | {drawn:.0f} | - | - | - |")
        browser.close()


def _by_plotly(costs: list[float], accuracies: list[float]) -> str:
    """A page that draws points as SVG with Plotly, and marks when they are there."""
    import plotly.graph_objects as go
    from plotly.offline import get_plotlyjs

    figure = go.Figure(go.Scatter(x=costs, y=accuracies, mode="markers", marker={"size": 8}))
    done = ".then(() => requestAnimationFrame(() => performance.mark('octnas-front')))"
    draw = f"Plotly.newPlot('front', {figure.to_json()}){done}"
    body = f"<div id='front'></div><script>{get_plotlyjs()}</script><script>{draw}</script>"
    return f"<!doctype html><meta charset='utf-8'>{body}"


def _chromium() -> str:
    command = [shutil.which("chromium") or "chromium", "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _mark(page: Page, name: str) -> float:
    return float(page.evaluate(f"performance.getEntriesByName('{name}')[0].startTime"))


if __name__ == "__main__":
    main()
