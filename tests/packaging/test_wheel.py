"""The wheel: one name, everything that the main job needs, and nothing of the checkout."""

from __future__ import annotations

import configparser
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from octnas.front.page.template import SCRIPTS

ROOT = Path(__file__).parents[2]

INSIDE = """
import sys
sys.path.insert(0, sys.argv[1])
import octnas
from octnas.data import load_images
from octnas.space import catalog
assert octnas.__file__.startswith(sys.argv[1]), octnas.__file__
glyphs = load_images("glyphs")
print(*(f"{name} {path.relative_to(sys.argv[1])}" for name, path in catalog().items()), sep="\\n")
print(*map(len, [glyphs.train, glyphs.val, glyphs.test, glyphs.classes, load_images("fashion-sample").val]))
print(octnas.cost(octnas.Architecture.uniform("resnet50", alpha=0.5), input_shape=(3, 224, 224)).gflops)
print(octnas.load_space("imagenet-2d").size())
"""

PAGE = """
import sys
sys.path.insert(0, sys.argv[1])
from octnas import Architecture
from octnas.front import SearchResult
from octnas.front.picture import write_html
from octnas.record import SearchHeader, TrialRecord, TrialState
header = SearchHeader(name="packed", space_yaml="", budget_gflops=2.0, trials=1, seed=0, data="glyphs")
record = TrialRecord(
    id="7", architecture=Architecture.uniform("resnet18", alpha=0.25), state=TrialState.COMPLETE,
    gflops=1.2, params=11_689_512, accuracy=0.9, epochs=3,
)
write_html(SearchResult(header=header, records=(record,)), sys.argv[2])
print(sys.modules["octnas.front.page.template"].__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_one_name(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"octnas"}
    assert len(tops) == 2


def test_all_modules_spaces_and_data_are_in_it_and_no_other_file(names: set[str]) -> None:
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "octnas").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    spaces = {f"octnas/_spaces/{path.name}" for path in (ROOT / "search_spaces").iterdir()}
    front = {f"octnas/_dashboards/{path.name}" for path in (ROOT / "dashboards" / "front").iterdir()}
    inside = {name for name in names if name.startswith("octnas/")}
    assert inside == package | spaces | front
    assert "octnas/py.typed" in inside
    assert {"octnas/_dashboards/front.html", "octnas/_dashboards/front.css"} <= inside
    assert {f"octnas/_dashboards/{each}" for each in SCRIPTS} == {
        each for each in front if each.endswith(".js")
    }
    assert {"octnas/_spaces/imagenet-2d.yaml", "octnas/_spaces/small-2d.yaml"} <= inside
    assert {f"octnas/data/embedded/{each}" for each in ("glyphs.npz", "glyphs.json", "fashion.npz")} <= inside


def test_the_wheel_is_small_and_has_its_command_and_licence(wheel: Path, names: set[str]) -> None:
    assert wheel.stat().st_size < 26_000_000
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    with zipfile.ZipFile(wheel) as archive:
        scripts = configparser.ConfigParser()
        scripts.read_string(archive.read(f"{info}/entry_points.txt").decode())
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
        metadata = archive.read(f"{info}/METADATA").decode()
    assert dict(scripts["console_scripts"]) == {"octnas": "octnas.cli:main"}
    assert licence == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "\nRequires-Python: >=3.11\n" in metadata


def test_the_unpacked_wheel_finds_its_spaces_and_images(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    command = [sys.executable, "-I", "-c", INSIDE, str(place)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *spaces, counts, gflops, size = done.stdout.splitlines()
    listed = dict(line.split(" ") for line in spaces)
    shipped = sorted((ROOT / "search_spaces").glob("*.yaml"))
    assert listed == {path.stem: f"octnas/_spaces/{path.name}" for path in shipped}
    assert counts == "12000 8000 8000 160 14000"
    assert gflops == "2.367143936"
    assert size == "31864698249441334960"


def test_the_unpacked_wheel_makes_the_front_page_of_the_checkout(wheel: Path, tmp_path: Path) -> None:
    place, made = tmp_path / "site", tmp_path / "front.html"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place)
    command = [sys.executable, "-I", "-c", PAGE, str(place), str(made)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(place))
    page = made.read_text(encoding="utf-8")
    assert '<button type="button" data-trial="7">7</button>' in page
    for name in ("front.css", *SCRIPTS):
        assert (ROOT / "dashboards" / "front" / name).read_text(encoding="utf-8") in page
