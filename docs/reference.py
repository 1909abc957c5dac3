"""Builds the API reference from the docstrings: `python docs/reference.py FOLDER`.

Needs `pip install 'octnas[docs]'`. The pages need no network. What is not in a package's `__all__` is no
public name and has no entry.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pdoc
import pdoc.render

import octnas

__all__ = ["MODULES", "build"]

MODULES = (
    "octnas",
    "octnas.architecture",
    "octnas.backbones",
    "octnas.costs",
    "octnas.data",
    "octnas.engine",
    "octnas.engine.evaluate",
    "octnas.errors",
    "octnas.export",
    "octnas.front",
    "octnas.nn",
    "octnas.record",
    "octnas.space",
    "octnas.timing",
    "octnas.trace",
    "octnas.train",
    "octnas.train.pretrained",
    "octnas.train.recalibrate",
)
"""Modules with a page, in an order in which a package stands before its modules."""


def build(folder: Path) -> None:
    """Writes a page for each of `MODULES`, an index and the index of the search into a folder."""
    for name in MODULES:  # names that are loaded on first use are loaded now, or they would be variables
        module = importlib.import_module(name)
        for public in module.__all__:
            setattr(module, public, getattr(module, public))
    pdoc.render.configure(
        docformat="google",
        show_source=False,
        footer_text=f"octnas {octnas.__version__}",
        template_directory=Path(__file__).with_suffix(""),
    )
    specs: list[Path | str] = []
    for name in MODULES:
        specs += [name, f"!{name.replace('.', '[.]')}[.]"]  # a package's page, not those of all its modules
    pdoc.pdoc(*specs, output_directory=folder)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/reference.py FOLDER")
    build(Path(sys.argv[1]))
    print(f"written: {Path(sys.argv[1]) / 'index.html'}")
