"""`python -m octnas` is the `octnas` command."""

from octnas.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
