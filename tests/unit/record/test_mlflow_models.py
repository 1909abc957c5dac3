"""A model version's description, which MLflow's databases keep in 5,000 characters."""

from __future__ import annotations

from octnas.record.mlflow_models import shortened


def test_a_card_that_fits_is_whole() -> None:
    assert shortened("# card\n" + "x" * 4993) == "# card\n" + "x" * 4993


def test_of_a_long_card_whole_sections_are_left_and_where_the_rest_is() -> None:
    card = "# card\n\n## first\n\n" + "a" * 3000 + "\n\n## second\n\n" + "b" * 3000
    short = shortened(card)
    assert short == (
        "# card\n\n## first\n\n" + "a" * 3000 + "\n\nThe rest is in README.md, an artifact of the run that "
        "made this version."
    )


def test_a_section_that_is_too_long_is_cut() -> None:
    short = shortened("# card\n" + "x" * 9000)
    assert len(short) == 5000
    assert short.endswith("made this version.")
