"""From a search to a trained winner by what a person sees: MLflow's page, the run, a point, its command."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from front_shown import mark
from PIL import Image
from playwright.sync_api import Page, expect
from servers import free_port
from stand_ins import TINY_SPACE

pytestmark = pytest.mark.timeout(900)

SEARCH = (
    "octnas search --space tiny.yaml --data images --budget-gflops 0.04 --trials 2 --confirm 0 --name first"
)


def octnas(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "octnas"
    done = subprocess.run(
        [sys.executable, "-m", "octnas", *arguments],
        cwd=folder,
        env=settings(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def settings() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OCTNAS_", "MLFLOW_"))}
    return {**kept, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder with images of two kinds, a space, and a search that ended."""
    folder = tmp_path_factory.mktemp("user")
    rng = np.random.default_rng(0)
    for kind in ("dark", "light"):
        (folder / "images" / kind).mkdir(parents=True)
        for number in range(40):
            pixels = rng.integers(0, 120, (32, 32)) + (120 if kind == "light" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / kind / f"{number}.png")
    space = TINY_SPACE + "proxy: {data: fashion-sample, width: 16, epochs: 2}\n"
    (folder / "tiny.yaml").write_text(space, encoding="utf-8")
    octnas(SEARCH, folder)
    return folder


@pytest.fixture(scope="module")
def mlflow(folder: Path) -> Iterator[str]:
    """The address of what `octnas dashboard` serves; nothing of it is left when it was told to end."""
    command = [sys.executable, "-m", "octnas", "dashboard", "first", "--no-browser", "--json"]
    with subprocess.Popen(
        [*command, "--port", str(free_port())],
        cwd=folder,
        env=settings(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield str(json.loads(process.stdout.readline())["url"])
            process.terminate()  # as Ctrl-C, which a process in the background may ignore
            assert process.wait(30) == 0
            with pytest.raises(ProcessLookupError):
                os.killpg(process.pid, 0)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_the_command_that_a_point_shows_runs(visitor: Page, mlflow: str, folder: Path) -> None:
    page, root = visitor, mlflow.partition("#")[0]
    page.goto(root)
    page.get_by_text("Model training", exact=True).first.click()
    page.get_by_role("link", name="Experiments").first.click()
    page.get_by_role("link", name="octnas", exact=True).click()
    page.get_by_role("link", name="first", exact=True).click()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("front.html").first.click()
    front = page.frame_locator("iframe.mlflow-html-iframe")
    expect(front.locator("h1")).to_have_text("Accuracy against compute: first")

    trials = json.loads(octnas("octnas front first --json", folder).stdout)
    best = trials["best"]
    front.locator(f'[data-trial="{best}"]').hover()
    expect(front.locator("#rows .tip")).to_contain_text(f"trial {best}")
    front.locator("h1").click()  # else the focus stays with the page around the frame
    x, y = mark(front, best)
    page.mouse.move(x, y)
    expect(front.locator("#chart .tip")).to_contain_text(f"trial {best}")
    page.mouse.click(x, y)
    expect(front.locator("#architecture-head")).to_have_text(f"Trial {best}, the best")
    address, train, export = front.locator("#architecture code").all_inner_texts()
    assert address.startswith(root)

    trained = json.loads(octnas(f"{train} --json", folder).stdout)
    assert trained["scale"] == "full"
    exported = json.loads(octnas(f"{export} --json", folder).stdout)
    assert exported["training"] == "full"
    assert exported["accuracy_after_reload"] == exported["accuracy"]

    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_text("octnas.trial_id").first).to_be_visible()
