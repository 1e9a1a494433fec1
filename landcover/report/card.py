"""The model card, for people who receive the model."""

from pathlib import Path
from typing import Any

from landcover.constants import readable
from landcover.report import markdown
from landcover.report.page import FEW, Run, facts_of


def card_page(model_path: Path, facts: dict[str, Any], run: Run) -> str:
    """Fill in templates/card.md, with the sections of Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.

    Args:
        facts: the metadata of the model file.
    """
    classes = [row | {"class": readable(row["class"])} for row in run.data["classes"]]
    means = facts["patch_means"].items()
    return markdown.render(
        "card.md",
        **facts_of(run),
        model_path=model_path.as_posix(),
        facts=facts,
        classes=[row for row in classes if any(row[split] for split in run.data["patches"])],
        unknown=[row["class"] for row in classes if not row["train"]],
        rare=[row["class"] for row in classes if 0 < row["train"] < FEW],
        seen=[{"band": band, "darkest patch": low, "brightest patch": high} for band, (low, high) in means],
    )
