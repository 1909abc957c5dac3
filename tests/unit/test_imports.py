"""Imports go one way, and heavy libraries stay behind their adapters."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import octnas

ROOT = Path(octnas.__file__).parent

ALLOWED: dict[str, set[str]] = {
    "_version": set(),
    "errors": set(),
    "counted": set(),
    "machine": {"errors", "counted"},
    "storage": {"errors"},
    "backbones": {"errors"},
    "architecture": {"errors", "backbones"},
    "data": {"errors", "machine", "counted", "storage"},
    "record": {"errors", "backbones", "architecture", "storage", "_version"},
    "nn": {"errors", "backbones", "architecture"},
    "costs": {"errors", "machine", "backbones", "architecture", "nn"},
    "trace": {"errors", "backbones", "architecture", "nn", "costs"},
    "space": {"errors", "backbones", "architecture", "costs"},
    "front": {"errors", "counted", "backbones", "architecture", "record", "costs"},
    "train": {"errors", "backbones", "architecture", "nn", "data", "record", "storage"},
    "export": {"errors", "backbones", "architecture", "nn", "data", "record", "costs", "train", "_version"},
    "timing": {
        "errors",
        "counted",
        "machine",
        "backbones",
        "architecture",
        "nn",
        "costs",
        "export",
        "space",
        "_version",
    },
    "lookup": {"errors", "backbones", "architecture", "record", "space"},
}
"""What each package may import from octnas; engine, cli and the package itself may import all."""

FREE = {
    "engine",
    "cli",
    "cli_arch",
    "cli_complete",
    "cli_dashboard",
    "cli_front",
    "cli_latency",
    "cli_rank",
    "cli_search",
    "cli_supernet",
    "cli_train",
    "__init__",
    "__main__",
}
WITHOUT_TORCH = [
    "errors",
    "backbones",
    "architecture",
    "record",
    "space",
    "costs",
    "front",
    "lookup",
    "cli",
    "cli_arch",
    "cli_complete",
    "cli_dashboard",
    "cli_latency",
    "cli_rank",
    "cli_search",
    "cli_supernet",
    "cli_train",
    "engine",
    "machine",
    "storage",
    "timing",
    "timing.profile_report",
    "timing.report",
]
ADAPTERS = {
    "ray": {
        f"engine/ray_{name}.py"
        for name in (
            "adapter",
            "cluster",
            "demand",
            "faults",
            "metrics",
            "nodes",
            "session",
            "train",
            "worker",
        )
    },
    "optuna": {f"engine/optuna_{name}.py" for name in ("adapter", "samplers", "storage", "studies")},
    "mlflow": {
        f"record/mlflow_{name}.py"
        for name in ("adapter", "children", "client", "import", "models", "runs", "system")
    },
}


def _modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if package in FREE:
        return
    mine = {name.split(".")[1] for name in _imported(path) if name.startswith("octnas.")} - {package}
    assert mine <= ALLOWED[package]


@pytest.mark.parametrize("library", ADAPTERS)
def test_each_library_stands_behind_its_adapter(library: str) -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in _modules()
        if any(name.split(".")[0] == library for name in _imported(path))
    }
    assert users <= ADAPTERS[library]


@pytest.mark.parametrize("package", WITHOUT_TORCH)
def test_no_torch_is_loaded_by(package: str) -> None:
    heavy = {"torch", "ray", "optuna", "mlflow"}
    code = f"import sys, octnas.{package}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_survives_the_import_of_every_module() -> None:
    for module in pkgutil.walk_packages([str(ROOT)], "octnas."):
        importlib.import_module(module.name)
    for name in octnas.__all__:
        value = getattr(octnas, name)
        if name in {"build", "cost", "load_space", "resume", "search"}:
            assert callable(value), f"octnas.{name} is hidden by a module"


def test_every_module_declares_what_is_public() -> None:
    # Ruff's RUF022 keeps the lists sorted.
    without = [
        path
        for path in _modules()
        if not any(
            isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
            for node in ast.parse(path.read_text(encoding="utf-8")).body
        )
    ]
    assert without == []


def test_files_stay_short() -> None:
    long = {str(p): n for p in _modules() if (n := p.read_text(encoding="utf-8").count("\n")) > 400}
    assert long == {}
