"""The screenshots in the documents: each view of the page is found and taken, light and dark."""

from __future__ import annotations

import runpy
from pathlib import Path

from fronts_drawn import synthetic_search
from PIL import Image, ImageStat
from playwright.sync_api import Browser

from octnas.front.picture import write_html

ROOT = Path(__file__).parents[2]


def test_every_view_is_taken_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "screens.py"))
    one, other = synthetic_search(40, name="one"), synthetic_search(40, name="other", seed=1)
    pages = {which: tmp_path / f"{which}.html" for which in ("one", "two", "many")}
    write_html(one, pages["one"])
    write_html([one, other], pages["two"])
    write_html(synthetic_search(300), pages["many"])
    taken = script["take"](browser, pages, tmp_path / "taken")
    names = {f"{view}-{scheme}" for view in script["VIEWS"] for scheme in ("light", "dark")}
    assert {path.stem for path in taken} == names
    for view in script["VIEWS"]:
        light, dark = (
            Image.open(tmp_path / "taken" / f"{view}-{scheme}.png") for scheme in ("light", "dark")
        )
        assert light.size == dark.size
        light_mean, dark_mean = (ImageStat.Stat(each.convert("L")).mean[0] for each in (light, dark))
        assert light_mean > 128 > dark_mean, view
    kept = {path.stem for path in (ROOT / "docs" / "front-page").glob("*.png")}
    assert kept == names
