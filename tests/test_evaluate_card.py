"""The model card has the features that the code has."""

from pathlib import Path

from models.features import FEATURES

CARD = Path(__file__).parents[1] / "docs" / "churn-model.md"


def features_table() -> str:
    """The table under "Features" as it has to be."""
    head = "| feature | formula | state it needs | why |\n|---|---|---|---|\n"
    return head + "".join(
        f"| `{one.name}` | {one.formula} | {one.state} | {one.why} |\n" for one in FEATURES
    )


def test_the_features_of_the_card_are_those_of_the_code() -> None:
    table = features_table()
    assert CARD.read_text().split("## Features\n\n")[1] == table, f"it has to be:\n{table}"
