"""What a space file may not say, and how the error says it: one line, the file, the line, the key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from pydantic import BaseModel

from octnas.errors import OctnasError, SpaceError, UnknownNameError
from octnas.space import load_space, parse_space
from octnas.space.schema import Definition

GOOD = """\
name: mine
description: for tests
granularity: stage+layer
alphas: [0, 0.25, 1/2]
backbones: [resnet18]
target:
  input_size: 224
proxy:
  data: fashion
  width: 16
  steps: 300
  evaluations: 3
  learning_rate: 1e-1
  rungs: {eta: 2}
"""


def test_defaults_and_spellings() -> None:
    space = parse_space(GOOD)
    assert space.alphas == (Fraction(0), Fraction(1, 4), Fraction(1, 2))
    assert space.downsample == ("pooled",)
    assert (space.target.channels, space.target.classes, space.target.width, space.target.stem) == (
        3, 1000, 64, "imagenet",
    )  # fmt: skip
    proxy = space.proxy
    assert (proxy.steps, proxy.evaluations, proxy.epochs, proxy.learning_rate) == (300, 3, None, 0.1)
    assert (proxy.rungs.eta, proxy.rungs.min_epochs) == (2, 1)
    assert parse_space(space.to_yaml()) == space


def test_a_fraction_that_is_no_decimal_survives_the_round_trip() -> None:
    text = GOOD.replace("[0, 0.25, 1/2]", "[0, 1/3, 0.5]").replace(
        "input_size: 224", "input_size: 224\n  width: 48"
    )
    space = parse_space(text.replace("width: 16", "width: 12"))
    assert space.alphas[1] == Fraction(1, 3)
    assert parse_space(space.to_yaml()) == space


def test_clips_and_a_budget_are_spelled_out_and_read_back() -> None:
    text = GOOD.replace("input_size: 224", "input_size: 224\n  frames: 8\n  channels: 1")
    text = text.replace("width: 16", "width: 16\n  frames: 4")
    text = text.replace("[resnet18]", "[resnet18, c2d_resnet18]\nbudget_gflops: 12")
    space = parse_space(text)
    assert (space.target.input_shape, space.proxy.frames) == ((1, 8, 224, 224), 4)
    assert space.definition.budget_gflops == 12.0
    assert parse_space(space.to_yaml()) == space
    still = parse_space(GOOD)
    assert (still.target.input_shape, still.definition.budget_gflops) == ((3, 224, 224), None)


BAD = {
    "unknown key at the top": ("granularity:", "granularty:", "line 3, `granularty`: .*mean 'granularity'"),
    "unknown key inside": ("width: 16", "widht: 16", r"line 10, `proxy\.widht`: .*did you mean 'width'"),
    "unknown key in rungs": ("eta: 2", "etta: 2", r"line 14, `proxy\.rungs\.etta`: .*did you mean 'eta'"),
    "missing key": ("granularity: stage+layer\n", "", "`granularity`: this key is missing"),
    "missing key inside": ("  data: fashion\n", "", r"line 8, `proxy\.data`: this key is missing"),
    "granularity": ("stage+layer", "stage+layers", "line 3, `granularity`: .*did you mean 'stage\\+layer'"),
    "text for a number": ("width: 16", "width: '16'", r"`proxy\.width`: .*but got '16'"),
    "fraction for a count": ("steps: 300", "steps: 300.5", r"`proxy\.steps`: .*but got 300\.5"),
    "yes for a number": ("steps: 300", "steps: yes", r"`proxy\.steps`: .*but got True"),
    "alpha above 1": ("1/2", "1.5", r"line 4, `alphas\[2\]`: an alpha must be .* between 0 and 1 .*1\.5"),
    "alpha no number": ("1/2", "half", r"`alphas\[2\]`: an alpha must be a number.*'half'"),
    "alphas in disorder": ("0.25, 1/2", "0.5, 0.25", "`alphas`: alphas must ascend"),
    "alpha twice": ("0.25, 1/2", "0.5, 1/2", "`alphas`: alphas must ascend"),
    "no alphas": ("[0, 0.25, 1/2]", "[]", "`alphas`: .*at least 1"),
    "unknown backbone": ("[resnet18]", "[resnet19]", "`backbones`: unknown backbone 'resnet19': did you"),
    "backbone twice": ("[resnet18]", "[resnet18, resnet18]", "`backbones`: each must stand once"),
    "no list": ("[resnet18]", "resnet18", "`backbones`: .*but got 'resnet18'"),
    "both lengths": ("steps: 300", "steps: 300\n  epochs: 2", "`proxy`: exactly one of `epochs` and `steps`"),
    "no length": ("  steps: 300\n", "", "`proxy`: exactly one of `epochs` and `steps`"),
    "steps without evaluations": ("  evaluations: 3\n", "", "1 <= evaluations <= steps"),
    "learning rate": ("1e-1", "0", r"`proxy\.learning_rate`: .*greater than 0"),
    "not a number": ("1e-1", ".nan", r"`proxy\.learning_rate`: .*finite"),
    "eta": ("eta: 2", "eta: 1", r"`proxy\.rungs\.eta`: .*greater than or equal to 2"),
    "name": ("name: mine", "name: ../mine", "`name`: .*'../mine'"),
    "anchor": ("[resnet18]", "&some [resnet18]", "line 5: anchors and aliases are not allowed"),
    "alias": ("data: fashion", "data: *some", "line 9: anchors and aliases are not allowed"),
    "merge": ("  data: fashion", "  <<: {data: fashion}", "line 9: merges are not allowed"),
    "key twice": ("  width: 16", "  width: 16\n  width: 8", r"line 11: key 'width' stands .*line 10\)"),
    "tag": ("data: fashion", "data: !!python/name:os.system", "line 9: not valid YAML"),
    "broken": ("[resnet18]", "[resnet18", "line 6: not valid YAML"),
    "tab": ("  data: fashion", "\tdata: fashion", "line 9: not valid YAML"),
    "number as key": ("  data: fashion", "  1: fashion", "line 9: a key must be a plain word"),
    "two documents": ("target:", "---\ntarget:", "not valid YAML"),
    "control character": ("for tests", "for \x07", "not valid YAML"),
    "proxy not whole": ("0.25, 1/2", "0.3", r"layer1\.0\.conv1: alpha 0\.3 is 19 of 64 .* 4\.75 of 16, not"),
    "proxy not distinct": ("0.25, 1/2", "0.25, 0.251", "4 of 16, the same as of the alpha before it"),
    "proxy too small": ("width: 16", "width: 16\n  input_size: 16", r"layer3\.0\.conv1 can be .*224 px"),
    "no frames": ("input_size: 224", "input_size: 224\n  frames: 0", r"line 8, `target\.frames`: .*to 1"),
    "half a frame": ("width: 16", "width: 16\n  frames: 1.5", r"line 11, `proxy\.frames`: .*but got 1\.5"),
    "frames of one": ("width: 16", "width: 16\n  frames: 4", r"line 11, `proxy\.frames`: .*None and 4"),
    "3D, no clips": (
        "[resnet18]", "[resnet18, i3d_resnet18]",
        r"line 6, `target\.frames`: i3d_resnet18 is a 3D backbone, which takes clips and no still images",
    ),
    "budget": ("[resnet18]", "[resnet18]\nbudget_gflops: 0", "line 6, `budget_gflops`: .*greater than 0"),
    "groups": (
        "[0, 0.25, 1/2]\nbackbones: [resnet18]", "[0, 1/8]\nbackbones: [resnext50_32x4d]",
        r"resnext50_32x4d, layer1\.0\.conv1: alpha 0\.125 is 16 of 128 channels, no multiple of its 32 "
        r"groups: choose `alphas` of 0, 1/4, 2/4, 3/4, 1$",
    ),
    "no such width": (
        "resnet18]\ntarget:\n  input_size: 224\nproxy:\n  data: fashion\n  width: 16",
        "resnext50_32x4d]\ntarget:\n  input_size: 224\nproxy:\n  data: fashion\n  width: 5",
        r"resnext50_32x4d, `proxy\.width`: .*must be whole",
    ),
    "proxy too large": ("width: 16", "width: 16\n  input_size: 64", r"layer4\.0\.conv1 cannot be .*but can"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD)
def test_faults_are_named_in_one_line(fault: str) -> None:
    old, new, message = BAD[fault]
    assert GOOD.count(old) == 1
    with pytest.raises(SpaceError, match=message) as error:
        parse_space(GOOD.replace(old, new), source="mine.yaml")
    assert str(error.value).startswith("mine.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "null"])
def test_a_space_must_be_a_mapping(text: str) -> None:
    with pytest.raises(SpaceError, match=r"mine\.yaml: a search space must be a mapping"):
        parse_space(text, source="mine.yaml")


def test_unknown_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet-2d'"):
        load_space("imagenet2d")
    with pytest.raises(SpaceError, match=r"there is no file .*absent\.yaml: known names are clips-small, im"):
        load_space(tmp_path / "absent.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(SpaceError, match="not UTF-8"):
        load_space(binary)
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(OctnasError, match="directory"):
        load_space(tmp_path / "folder.yaml")


def test_a_file_is_found_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").write_text(GOOD, encoding="utf-8")
    assert load_space(str(tmp_path / "mine")).name == "mine"
    monkeypatch.chdir(tmp_path)
    assert load_space("mine").name == "mine"


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that a file may spell, 'proxy.rungs.eta' for instance."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from keys_of(inner, f"{prefix}{name}.")
        else:
            yield prefix + name


def test_the_document_explains_every_key_and_no_other() -> None:
    document = (Path(__file__).parents[3] / "docs" / "spaces.md").read_text(encoding="utf-8")
    _, table = document.split("| key | meaning | default |\n|---|---|---|\n")
    rows = table.split("\n\n")[0].splitlines()
    explained = [key for row in rows for key in re.findall(r"`([\w.]+)`", row.split("|")[1])]
    assert len(explained) == len(set(explained))
    assert set(explained) == set(keys_of(Definition))


def test_the_document_states_the_defaults_of_the_schema() -> None:
    document = (Path(__file__).parents[3] / "docs" / "spaces.md").read_text(encoding="utf-8")
    proxy = parse_space(GOOD.replace("  learning_rate: 1e-1\n", "")).proxy
    for name in ("batch_size", "optimizer", "learning_rate", "weight_decay", "label_smoothing"):
        row = next(
            line for line in document.splitlines() if line.startswith("|") and f"`proxy.{name}`" in line
        )
        _, keys, _, default, _ = row.split("|")
        position = re.findall(r"`([\w.]+)`", keys).index(f"proxy.{name}")
        stated = default.split(",")[position].strip(" `")
        value = getattr(proxy, name)
        assert stated == value if isinstance(value, str) else float(stated) == value, name


@pytest.mark.parametrize(("name", "steps"), [("imagenet-2d", 700), ("small-2d", 800)])
def test_shipped_spaces_train_as_was_measured(name: str, steps: int) -> None:
    proxy = load_space(name).proxy
    assert (proxy.steps, proxy.evaluations, proxy.epochs) == (steps, 4, None)
    assert (proxy.optimizer, proxy.learning_rate, proxy.weight_decay) == ("adamw", 0.004, 0.05)
    assert (proxy.rungs.eta, proxy.rungs.min_epochs) == (2, 2)


def test_an_optimizer_is_one_of_two() -> None:
    assert parse_space(GOOD).proxy.optimizer == "adamw"
    assert parse_space(GOOD + "  optimizer: sgd\n").proxy.optimizer == "sgd"
    with pytest.raises(SpaceError, match=r"line 15, `proxy\.optimizer`: .*'adam': did you mean 'adamw'"):
        parse_space(GOOD + "  optimizer: adam\n")
    with pytest.raises(SpaceError, match=r"`proxy\.noise_points`: .*greater than or equal to 0"):
        parse_space(GOOD + "  noise_points: -1\n")
