"""The API reference: every public name is there with its docstring, and nothing is fetched to read it."""

from __future__ import annotations

import ast
import html
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import octnas

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "reference.py"
(MODULES,) = (
    ast.literal_eval(node.value)
    for node in ast.parse(SCRIPT.read_text(encoding="utf-8")).body
    if isinstance(node, ast.Assign) and [target.id for target in node.targets] == ["MODULES"]  # type: ignore[attr-defined]
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def page(pages: Path, module: str) -> str:
    return (pages / f"{module.replace('.', '/')}.html").read_text(encoding="utf-8")


def words(text: str) -> str:
    """Text without tags, entities, marks and line ends."""
    return " ".join(re.sub(r"[`*_\\]", "", html.unescape(re.sub(r"<[^>]+>", "", text))).split())


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_has_its_docstring(pages: Path, module: str) -> None:
    found = page(pages, module)
    said = words(found)
    home = importlib.import_module(module)
    assert home.__doc__
    for name in home.__all__:
        value = getattr(home, name)
        if inspect.ismodule(value):
            assert f'href="{module.split(".")[-1]}/{name}.html"' in found
            continue
        assert f'id="{name}"' in found, name
        if inspect.isclass(value) or inspect.isroutine(value):
            doc = inspect.getdoc(value)
            assert doc, name
            assert words(doc.split("\n\n")[0]) in said, name


def test_lazy_names_are_what_they_are(pages: Path) -> None:
    top = page(pages, "octnas")
    assert re.search(r'<span class="def">def</span>\s*<span class="name">search</span>', top)
    assert re.search(r'<span class="def">class</span>\s*<span class="name">SearchResult</span>', top)


def test_the_modules_are_those_of_the_package_and_of_the_document() -> None:
    root = Path(octnas.__file__).parent
    packages = {f"octnas.{path.parent.name}" for path in root.glob("*/__init__.py")}
    assert packages <= set(MODULES)
    document = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    for name in set(re.findall(r"octnas(?:\.[a-z_]+)+", document)):
        parts = name.split(".")
        homes = [each for each in MODULES if each in (name, ".".join(parts[:-1]))]
        assert homes, f"docs/python.md names {name}, of which there is no page"


def test_nothing_is_fetched_to_read_it(pages: Path) -> None:
    for path in pages.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(?:src|srcset)\s*=\s*["']?(?:https?:)?//""", text), path
        assert not re.search(r"<link[^>]*href\s*=\s*[\"']?(?:https?:)?//", text), path
        assert not re.search(r"@import|url\(\s*[\"']?(?:https?:)?//", text), path
