"""docs/search.ipynb: what is kept of its run, and that it still runs."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from PIL import Image

NOTEBOOK = Path(__file__).parents[2] / "docs" / "search.ipynb"
LAST = """
import json

import psutil
import ray

print(json.dumps([ray.is_initialized(), [each.name() for each in psutil.Process().children(recursive=True)]]))
"""


@pytest.fixture(scope="module")
def notebook() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def drawn(notebook: Any) -> str:
    """The HTML of the one result that is shown."""
    shown = [output.data for cell in code_of(notebook) for output in cell.outputs if "data" in output]
    (data,) = [each for each in shown if "text/html" in each]
    assert re.fullmatch(r"<SearchResult '\w+': \d+ trials .*hypervolume [\d.]+>", data["text/plain"])
    return str(data["text/html"])


def test_it_is_a_notebook_whose_cells_are_python(notebook: Any) -> None:
    nbformat.validate(notebook)
    for cell in code_of(notebook):
        compile(cell.source, NOTEBOOK.name, "exec")
    assert NOTEBOOK.stat().st_size < 300_000


def test_it_is_kept_with_the_outputs_of_one_run_in_order(notebook: Any) -> None:
    cells = code_of(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.outputs for cell in cells)
    assert {output.output_type for cell in cells for output in cell.outputs} <= {"stream", "execute_result"}
    assert {output.name for cell in cells for output in cell.outputs if "name" in output} == {"stdout"}
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)


def test_its_front_is_a_picture_with_words(notebook: Any) -> None:
    html = drawn(notebook)
    (source,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert Image.open(io.BytesIO(base64.b64decode(source))).size == (1650, 1470)
    assert re.search(r'alt="Accuracy against compute of \d+ trials; on the front', html)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_runs_and_leaves_no_ray_behind(
    notebook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nbclient import NotebookClient

    for name in ("OCTNAS_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    fresh = nbformat.v4.new_notebook(
        cells=[cell.copy() for cell in notebook.cells], metadata=notebook.metadata
    )
    fewer = 0
    for cell in code_of(fresh):
        cell.source, count = re.subn(r"trials=\d+", "trials=2", cell.source)
        fewer += count
    assert fewer == 1
    fresh.cells.append(nbformat.v4.new_code_cell(LAST))
    NotebookClient(fresh, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "on the front" in drawn(fresh)
    (last,) = fresh.cells[-1].outputs
    assert last.text.strip() == "[false, []]"
    assert (tmp_path / "octnas-runs" / "notebook" / "journal.jsonl").is_file()
