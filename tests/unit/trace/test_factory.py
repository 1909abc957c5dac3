"""A user's factory by name: found, called with what it takes, refused in one line where it is at fault."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

import octnas
from octnas.backbones import default_input, family_of, layer_table
from octnas.costs import cost
from octnas.errors import ArchitectureError, ConversionError, FactoryError

HEAD = """\
import torch
from torch import nn

def network(classes=10, channels=3, wide=16):
    return nn.Sequential(
        nn.Conv2d(channels, wide, 3, padding=1), nn.Conv2d(wide, 2 * wide, 3, 2, 1), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(2 * wide, classes),
    )

"""
_numbers = itertools.count()

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module below `HEAD` into the working directory and returns its name, which no other has."""
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def written(text: str) -> str:
        name = f"usersmodule{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(HEAD + text, encoding="utf-8")
        return name

    yield written
    for name in set(sys.modules) - before:
        if name.startswith("usersmodule"):
            del sys.modules[name]


def widths(name: str, **settings: int) -> list[int]:
    return [conv.out_channels for conv in layer_table(name, **settings).convs]


@pytest.mark.parametrize(
    ("signature", "wide", "at_64", "at_16"),
    [
        ("width=24", "width", [24, 48], [6, 12]),
        ("width=1.0", "int(24 * width)", [24, 48], [6, 12]),
        ("width", "width", [64, 128], [16, 32]),
        ("*, width=None", "width", [64, 128], [16, 32]),
    ],
)
def test_a_width_is_a_share_of_the_factorys_own(
    write: Write, signature: str, wide: str, at_64: list[int], at_16: list[int]
) -> None:
    name = f"{write(f'def make({signature}): return network(wide={wide})')}:make"
    assert family_of(name).takes_width
    assert widths(name) == at_64
    assert widths(name, width=16) == at_16


def test_a_width_that_is_not_whole_is_refused(write: Write) -> None:
    name = f"{write('def make(width=18): return network(wide=width)')}:make"
    assert widths(name, width=32) == [9, 18]
    with pytest.raises(ArchitectureError, match=r"18 x 16 / 64 is 4\.5.*a default that is a multiple of 4"):
        layer_table(name, width=16)


def test_a_factory_without_a_width_has_one_network(write: Write) -> None:
    name = f"{write('def make(): return network()')}:make"
    assert not family_of(name).takes_width
    assert widths(name) == [16, 32]
    with pytest.raises(ArchitectureError, match=r"no other width than its own.*give the factory a `width`"):
        layer_table(name, width=32)
    with pytest.raises(ArchitectureError, match="its own stem"):
        layer_table(name, stem="small")


def test_what_a_factory_takes_it_is_given(write: Write) -> None:
    name = f"{write('def make(num_classes, in_channels=1): return network(num_classes, in_channels)')}:make"
    assert default_input(name) == (1, 224, 224)
    table = layer_table(name, in_channels=4, num_classes=7)
    assert (table.in_channels, table.num_classes) == (4, 7)
    module = family_of(name).network(width=64, in_channels=4, num_classes=7)
    assert module(torch.zeros(2, 4, 16, 16)).shape == (2, 7)


def test_what_it_does_not_take_it_keeps_and_no_network_pretends_otherwise(write: Write) -> None:
    name = f"{write('def make(): return network(10, 1)')}:make"
    table = layer_table(name, in_channels=3, num_classes=1000)
    assert (table.in_channels, table.num_classes) == (1, 10)
    make = family_of(name).network
    assert make is not None
    assert isinstance(make(width=64, in_channels=1, num_classes=10), nn.Sequential)
    with pytest.raises(
        ArchitectureError, match=r"num_classes=10 .*num_classes=7 is needed: give the factory"
    ):
        make(width=64, in_channels=1, num_classes=7)
    with pytest.raises(ArchitectureError, match=r"in_channels=1 .*in_channels=3 is needed: give the factory"):
        make(width=64, in_channels=3, num_classes=10)


def test_further_keywords_are_tried(write: Write) -> None:
    """torchvision's factories hand `num_classes` on by **kwargs, and refuse `in_channels`."""
    module = write(
        "def inner(classes=3, num_classes=10): return network(num_classes)\n"
        "def some(**more): return inner(**more)\n"
        "def all_of(**more): return network(more.get('num_classes', 10), more.get('in_channels', 3))\n"
    )
    table = layer_table(f"{module}:some", num_classes=7, in_channels=1)
    assert (table.num_classes, table.in_channels) == (7, 3)
    assert not family_of(f"{module}:some").takes_width
    table = layer_table(f"{module}:all_of", num_classes=7, in_channels=1)
    assert (table.num_classes, table.in_channels) == (7, 1)


def test_a_class_is_a_factory_and_modules_may_lie_in_packages(write: Write, tmp_path: Path) -> None:
    inner = write("class Net(nn.Sequential):\n    def __init__(self): super().__init__(*network())\n")
    (tmp_path / f"{inner}p").mkdir()
    (tmp_path / f"{inner}p" / "nets.py").write_text(f"from {inner} import Net\n", encoding="utf-8")
    assert widths(f"{inner}p.nets:Net") == [16, 32]


def test_modules_are_found_on_pythonpath_and_no_path_is_left_behind(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = write("def make(): return network()")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    before = list(sys.path)
    assert widths(f"{module}:make") == [16, 32]
    assert sys.path == before


def test_reading_a_table_draws_no_random_number_and_building_a_network_does(write: Write) -> None:
    name = f"{write('def make(num_classes=10): return network(num_classes)')}:make"
    architecture = octnas.Architecture.uniform(name, alpha=0.5)
    before = torch.get_rng_state()
    cost(architecture, num_classes=12)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    first = octnas.build(architecture, num_classes=12).state_dict()
    again = octnas.build(architecture, num_classes=12).state_dict()
    assert not torch.equal(first["0.weight"], again["0.weight"])
    torch.manual_seed(3)
    assert torch.equal(octnas.build(architecture, num_classes=12).state_dict()["0.weight"], first["0.weight"])


def test_the_input_is_the_factorys_or_one_that_the_network_can_take(write: Write) -> None:
    module = write(
        "def make(): return network()\n"
        "def sized(): return network()\n"
        "sized.input_size = 48\n"
        "def flat(): return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1),\n"
        "                                 nn.Flatten(), nn.Linear(4 * 32 * 32, 10))\n"
        "def wrong(): return network()\n"
        "wrong.input_size = '48'\n"
    )
    shapes = {each: default_input(f"{module}:{each}") for each in ("make", "sized", "flat")}
    assert shapes == {"make": (3, 224, 224), "sized": (3, 48, 48), "flat": (1, 32, 32)}
    with pytest.raises(ConversionError, match="64x64"):
        layer_table(f"{module}:flat").sizes(64, 64)
    with pytest.raises(FactoryError, match=r"`input_size` of .*must be a side in px, 1 or more, but is '48'"):
        family_of(f"{module}:wrong")


def test_what_the_users_code_prints_is_not_on_standard_output(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    family_of(f"{write('print(1)' + chr(10) + 'def make(): print(2); return network()')}:make")
    assert capsys.readouterr().out == ""


BODY = """\
def make(depth): return network()
def raises(num_classes=10):
    raise ValueError("no such\\n  thing")
def exits(): raise SystemExit(3)
def none(): return None
def text(width="wide"): return network()
def linear(): return nn.Linear(3, 4)
value = 3
"""
AT_FAULT = {
    "no factory": ("M:", r"must be package\.module:factory, but got"),
    "a path": ("nets/M.py:make", r"must be package\.module:factory, but got .*: write nets\.M:make"),
    "two colons": ("M:make:more", r"must be package\.module:factory"),
    "no module": ("nowhere_to_be_found:make", "no module 'nowhere_to_be_found' in .*PYTHONPATH"),
    "no such name": ("M:raise", "M must have 'raise', but has not .*did you mean M:raises"),
    "no function": ("M:value", "must be a function or a class, but is a value of type int"),
    "an argument": ("M:make", "'depth' has none: give it one"),
    "it raises": ("M:raises", r"raises ValueError: no such thing \(M\.py:12\)"),
    "it exits": ("M:exits", r"raises SystemExit: 3 \(M\.py:13\)"),
    "nothing": ("M:none", r"must return a torch.nn.Module, but returned None"),
    "a width": ("M:text", "the default of `width` of .* must be a number, but is 'wide'"),
    "no convolution": ("M:linear", "Linear has no convolution"),
}


@pytest.mark.parametrize("case", AT_FAULT)
def test_a_factory_at_fault_is_one_line(write: Write, case: str) -> None:
    module = write(BODY)
    text, message = (re.sub(r"\bM\b", module, each) for each in AT_FAULT[case])
    with pytest.raises(ConversionError, match=message) as raised:
        family_of(text)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_file_is_told_from_a_module(write: Write) -> None:
    module = write(BODY)
    with pytest.raises(FactoryError, match=f"write {module}:make"):
        family_of(f"{module}.py:make")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:", r"cannot be imported: SyntaxError: .*\(usersmodule\d+\.py:10\)"),
        ("import of_nobody", r"ModuleNotFoundError: No module named 'of_nobody' \(usersmodule\d+\.py:10\)"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(usersmodule\d+\.py:10\)"),
    ],
)
def test_a_module_that_cannot_be_imported_names_its_line(write: Write, text: str, message: str) -> None:
    with pytest.raises(FactoryError, match=message):
        family_of(f"{write(text)}:make")


def test_a_network_converted_in_another_process_is_not_known() -> None:
    with pytest.raises(FactoryError, match="converted in another process"):
        family_of("convert:Net-01234567")
