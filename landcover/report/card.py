"""The model card, for people who receive the model."""

from pathlib import Path
from typing import Any

from landcover.constants import BANDS, CLASSES, readable
from landcover.report import markdown
from landcover.report.page import FEW, Run, how_split, inputs_of, leakage_rows, result_rows


def card_page(
    model_path: Path,
    facts: dict[str, Any],
    run: Run,
    data: dict[str, Any],
    baselines: dict[str, Any],
    scores: dict[str, Any],
    seeds: dict[str, Any],
) -> str:
    """Fill in templates/card.md, with the sections of Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.

    Args:
        facts: the metadata of the model file.
    """
    classes = [row | {"class": readable(row["class"])} for row in data["classes"]]
    means = facts["patch_means"].items()
    return markdown.render(
        "card.md",
        model_path=model_path.as_posix(),
        facts=facts,
        run=run,
        data=data,
        scores=scores,
        seeds=seeds,
        worldcover=[row["class"] for row in data["classes"]] == [*CLASSES],
        network=run.model.describe(),
        how_split=how_split(data["split_by"]),
        inputs=inputs_of(data),
        optical_only=set(inputs_of(data)) <= set(BANDS),
        classes=[row for row in classes if any(row[split] for split in data["patches"])],
        unknown=[row["class"] for row in classes if not row["train"]],
        rare=[row["class"] for row in classes if 0 < row["train"] < FEW],
        few=FEW,
        seen=[{"band": band, "darkest patch": low, "brightest patch": high} for band, (low, high) in means],
        leakage=leakage_rows(data["leakage"]),
        results=result_rows(scores, baselines),
    )
