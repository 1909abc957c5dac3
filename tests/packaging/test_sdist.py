"""The source archive: what the wheel leaves out, and nothing that git ignores."""

from __future__ import annotations

import tarfile
from pathlib import Path

from hatchling.builders.sdist import SdistBuilder

ROOT = Path(__file__).parents[2]


def test_the_launch_files_and_dashboards_are_in_it(tmp_path: Path) -> None:
    (path,) = SdistBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    runners = {f"runners/{each.name}" for each in (ROOT / "runners").iterdir() if each.suffix != ".env"}
    assert {name for name in names if name.startswith("runners/")} == runners
    dashboards = {str(path.relative_to(ROOT)) for path in (ROOT / "dashboards").rglob("*") if path.is_file()}
    assert {name for name in names if name.startswith("dashboards/")} == dashboards
    assert {
        "dashboards/front/front.html",
        "runners/slurm.sbatch",
        "octnas/cli.py",
        "search_spaces/imagenet-2d.yaml",
        "pyproject.toml",
    } <= names
