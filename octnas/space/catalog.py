"""Where search spaces are found: a path, the package's own files, or the checkout's `search_spaces/`."""

from __future__ import annotations

from pathlib import Path

import octnas
from octnas.errors import SpaceError, unknown_name
from octnas.space.space import SearchSpace, parse_space

__all__ = ["catalog", "load_space"]

_SUFFIXES = (".yaml", ".yml")


def catalog() -> dict[str, Path]:
    """The spaces that come with octnas, by name: the wheel's `octnas/_spaces`, else the checkout's files."""
    package = Path(octnas.__file__).parent
    for folder in (package / "_spaces", package.parent / "search_spaces"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}
    return {}


def load_space(name_or_path: str | Path) -> SearchSpace:
    """A space of the catalog by its name, or the space that a YAML file spells.

    Raises:
        UnknownNameError: neither a file nor a name of the catalog.
        SpaceError: a file that cannot be read, is malformed, or does not follow the schema; one line with
            the file, the line and the key.
    """
    path = Path(name_or_path)
    if not path.is_file() and path.suffix.lower() not in _SUFFIXES:
        known = catalog()
        if str(name_or_path) not in known:
            raise unknown_name("search space", str(name_or_path), known)
        path = known[str(name_or_path)]
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpaceError(
            f"a search space must be a file or a name, but there is no file {path}: known names are "
            f"{', '.join(catalog())}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SpaceError(f"{path} cannot be read as a search space: {reason}") from None
    return parse_space(text, source=str(name_or_path))
