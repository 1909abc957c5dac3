"""Nothing that is read from a disk, a storage or a server is unpickled: it could run whatever it likes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import octnas

ROOT = Path(octnas.__file__).parent

_PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
_LOADERS = {"load", "loads", "Unpickler", "open"}
_OWN = {"export/verify.py": "torch.export.load", "engine/ray_faults.py": "ray.cloudpickle.loads"}
"""What reads only files that the same process has just written, to see that they can be read."""


def refusals(source: str) -> list[str]:
    """The calls in a module that could run code of a file: "line: call"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in _PICKLES:
            found += [f"{node.lineno}: {each.name}" for each in node.names if each.name in _LOADERS]
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        head, _, last = name.rpartition(".")
        given = {each.arg: ast.unparse(each.value) for each in node.keywords}
        if head.split(".")[-1] in _PICKLES and last in _LOADERS:
            found.append(f"{node.lineno}: {name}")
        elif head.split(".")[-1] in {"torch", "serialization"} and last == "load":
            found += [] if given.get("weights_only") == "True" else [f"{node.lineno}: {name}"]
        elif name in {"torch.export.load", "torch.jit.load"}:
            found.append(f"{node.lineno}: {name}")
        elif head in {"np", "numpy"} and last == "load":
            found += [] if given.get("allow_pickle", "False") == "False" else [f"{node.lineno}: {name}"]
        elif last in {"load_model", "read_pickle", "load_state_dict_from_url"}:
            found += [] if given.get("weights_only") == "True" else [f"{node.lineno}: {name}"]
        elif head.split(".")[-1] == "yaml" and last in {"load", "unsafe_load", "full_load"}:
            found.append(f"{node.lineno}: {name}")
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_module_loads_a_pickle(path: Path) -> None:
    own = _OWN.get(str(path.relative_to(ROOT)))
    found = refusals(path.read_text(encoding="utf-8"))
    assert [each for each in found if each.partition(": ")[2] != own] == []


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "pickle.load(file)",
        "ray.cloudpickle.loads(data)",
        "from pickle import loads",
        "np.load(path, allow_pickle=True)",
        "torch.export.load(path)",
        "mlflow.pytorch.load_model(uri)",
        "pandas.read_pickle(path)",
        "yaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_the_check_sees_what_it_should(line: str) -> None:
    assert len(refusals(line)) == 1


def test_the_check_lets_pass_what_is_safe() -> None:
    safe = "torch.load(p, weights_only=True); np.load(p, allow_pickle=False); np.load(p); json.load(f)"
    assert refusals(safe) == []
