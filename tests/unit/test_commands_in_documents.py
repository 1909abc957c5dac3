"""What the documents say of commands, files and each other, without running any of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from documents import DOCUMENTS, NOT_RUN, ROOT, Command, blocks, commands, fault, why_not_run
from followed import FOLLOWED

from octnas.space import parse_space

LANGUAGES = {"sh", "python", "yaml", "text"}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_PICTURE = re.compile(r'\bsrc(?:set)?="([^"]+)"')


def typed(document: str) -> list[Command]:
    return [
        command for block in blocks(document) if block.language == "sh" for command in commands(block.text)
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_is_one_that_its_program_takes(document: str) -> None:
    for command in typed(document):
        assert fault(command) is None, f"{command.text}: {fault(command)}"


def test_a_wrong_command_is_found() -> None:
    wrong = {
        "octnas serach --budget-gflops 2": "no command serach",
        "octnas search --budget 2": "--budget",
        "octnas search --trials few": "integer",
        "octnas --verion": "no option --verion",
        "ray job submit --address A -- octnas search --nme x": "--nme",
        "python benchmarks/scale.py --trails 3": "--trails",
        "python -m pytest -m fast": "fast",
        "pip install 'octnas[videos]'": "videos",
        "sbatch runners/slum.sbatch": "slum",
    }
    for text, part in wrong.items():
        (command,) = commands(text)
        assert part in str(fault(command)), text


def test_a_line_is_split_as_a_shell_does() -> None:
    line = "A=1 B='x y' octnas list --json && octnas front \"a b\"  # both"
    first, second = commands(line)
    assert (first.settings, first.words) == (("A=1", "B=x y"), ("octnas", "list", "--json"))
    assert second.words == ("octnas", "front", "a b")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_is_run_or_is_listed_with_its_reason(document: str) -> None:
    run = [command.text for command in typed(document) if why_not_run(command) is None]
    code = [block.line for block in blocks(document) if block.language == "python"]
    assert bool(run or code) == (document in FOLLOWED), f"{document}: {run}, Python on lines {code}"


def test_no_reason_is_left_over() -> None:
    texts = [command.text for document in DOCUMENTS for command in typed(document)]
    for pattern, reason in NOT_RUN:
        assert any(re.search(pattern, text) for text in texts), f"{pattern}: {reason}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_says_its_language_and_is_in_it(document: str) -> None:
    for block in blocks(document):
        assert block.language in LANGUAGES, f"{document}, line {block.line}"
        if block.language == "python":
            compile(block.text, f"{document}, below line {block.line}", "exec")
        elif block.language == "yaml" and "mynet:" not in block.text:  # a file that the reader writes first
            assert parse_space(block.text, source=document).name == yaml.safe_load(block.text)["name"]


def anchors(path: Path) -> Iterator[str]:
    """What GitHub calls the headings of a document."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = re.sub(r"[^\w\- ]", "", line.lstrip("#").strip().lower())
            yield heading.replace(" ", "-")


@pytest.mark.parametrize("document", [*DOCUMENTS, "benchmarks/README.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(document: str) -> None:
    place = ROOT / document
    text = place.read_text(encoding="utf-8")
    for target in [*_LINK.findall(text), *_PICTURE.findall(text)]:
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (place.parent / name).resolve() if name else place
        assert file.exists(), f"{document}: {target}"
        if anchor:
            assert anchor in set(anchors(file)), f"{document}: {target}"


def test_the_index_leads_to_every_document() -> None:
    index = set(_LINK.findall((ROOT / "docs" / "README.md").read_text(encoding="utf-8")))
    here = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".md", ".ipynb")}
    assert here - {"README.md"} <= index
