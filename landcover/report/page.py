"""The report page, from the other files in reports/."""

import re
from typing import Any, NamedTuple

import pandas as pd

from landcover import config
from landcover.constants import BANDS, CLASSES, readable
from landcover.evaluation.leakage import NEARNESS
from landcover.evaluation.predictions import BASELINES
from landcover.modalities import PERMUTATIONS, modalities
from landcover.report import markdown

WORST = 12  # errors in the table, as in the picture
FEW = 10  # a class with fewer test patches is marked


class Run(NamedTuple):
    """What config.yaml says about the run."""

    dataset: str
    entry: config.Dataset
    model: config.Architecture
    train: config.Training


def _with_interval(values: dict[str, float], name: str) -> str:
    """'0.600 (0.520 to 0.680)'."""
    return f"{values[name]:.3f} ({values[f'{name}_ci_low']:.3f} to {values[f'{name}_ci_high']:.3f})"


def _against(name: str, found: dict[str, Any]) -> str:
    points = markdown.points(found["difference"], found["low"], found["high"])
    return f"{BASELINES[name]}: **{found['verdict']}, {points}**, {markdown.p_value(found['p'])}."


def how_split(split: config.Split) -> str:
    """How a dataset is split, in words."""
    match split:
        case config.Order():
            return "by row order of the meta table, as in the notebook"
        case config.Files():
            return "by the dataset's own split files"
        case config.Place():
            groups = "tiles" if split.groups == "tile" else f"blocks of {split.block_km:g} km"
            apart = f"with a buffer of {split.buffer_km:g} km, whatever the date"
            return f"by place: whole {groups} of ground, {apart} (seed {split.seed})"


def result_rows(scores: dict[str, Any], baselines: dict[str, Any]) -> list[dict[str, Any]]:
    """The network beside the baselines, a row each."""
    named = [("**network**", scores["test"]), *((text, baselines[name]) for name, text in BASELINES.items())]
    return [
        {
            "predictor": name,
            "accuracy (95% interval)": _with_interval(values, "accuracy"),
            "macro F1 (95% interval)": _with_interval(values, "macro_f1"),
            "balanced accuracy": values["balanced_accuracy"],
            "NLL": values["nll"],
            "Brier": values["brier"],
            "ECE": values["ece"],
            "ECE by chance": values["ece_by_chance"]["mean"],
        }
        for name, values in [*named, ("network, on val", scores["val"])]
    ]


def _seed_rows(seeds: dict[str, Any]) -> list[dict[str, Any]]:
    def text(values: dict[str, float]) -> str:
        return f"{values['mean']:.3f} ({values['low']:.3f} to {values['high']:.3f})"

    names = {"accuracy": "accuracy", "macro_f1": "macro F1", "balanced_accuracy": "balanced accuracy"}
    names |= {"nll": "NLL", "brier": "Brier"}
    return [
        {
            "mean over seeds (95% interval)": words,
            "test": text(seeds[name]),
            "val": text(seeds["val"][name]),
            "standard deviation over seeds, test": seeds[name]["std"],
        }
        for name, words in names.items()
    ]


def _ensemble(found: dict[str, Any]) -> str:
    """'accuracy 62.0%, +5.0 points (+1.0 to +9.0); NLL 1.100, -0.200 (-0.300 to -0.100)', against its members."""
    accuracy, nll = found["accuracy"], found["nll"]
    points = markdown.points(accuracy["difference"], accuracy["low"], accuracy["high"])
    change = f"{nll['difference']:+.3f} ({nll['low']:+.3f} to {nll['high']:+.3f})"
    return f"accuracy {accuracy['value']:.1%}, {points}; NLL {nll['value']:.3f}, {change}"


def _class_rows(per_class: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per class that occurs; classes with few patches are marked."""
    return [
        {
            "class": readable(row["class"]) + (" *" if row["support"] < FEW else ""),
            "support": row["support"],
            "precision": row["precision"],
            "recall (95% interval)": f"{row['recall']:.3f} ({row['recall_low']:.3f} to {row['recall_high']:.3f})",
            "F1": row["f1"],
        }
        for row in per_class[per_class["support"] > 0].to_dict("records")
    ]


def _error_rows(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """The most confident errors."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    return [
        {
            "patch": f"`{patch.patch_id}`",
            "actual": readable(patch.actual),
            "predicted": readable(patch.predicted),
            "confidence": patch.confidence,
            "purity": patch.majority_fraction,
        }
        for patch in wrong.sort_values(["confidence", "patch_id"], ascending=[False, True]).head(WORST).itertuples()
    ]


def leakage_rows(leakage: dict[str, Any] | None) -> list[dict[str, str]]:
    """The shares of patches with a train patch nearby, a row a distance; none where the dataset does not tell."""
    return [
        {"with a train patch": words} | {split: f"{leakage[split][what]['share']:.0%}" for split in ("test", "val")}
        for what, words in NEARNESS.items()
        if leakage
    ]


def _offsets(counts: dict[str, int]) -> str:
    """'1000 (12 patches), 0 (18 patches)'."""
    return ", ".join(f"{offset} ({count} patches)" for offset, count in counts.items())


def headline(page: str) -> str:
    """What the page says between its title and its first table or section, to be read on a terminal."""
    return re.split(r"\n(?=[|#])", page.partition("\n")[2])[0].replace("**", "").strip()


def inputs_of(data: dict[str, Any]) -> list[str]:
    """The image channels, and the modalities of the context features."""
    return list(data["bands"]["train"]) + list(modalities(data.get("context", {}).get("train", [])))


def _importance_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "input": readable(row["input"]),
            "accuracy without it": row["accuracy"],
            "accuracy lost (95% interval)": markdown.points(row["cost"], row["low"], row["high"]),
        }
        for row in rows
    ]


def report_page(
    run: Run,
    data: dict[str, Any],
    baselines: dict[str, Any],
    scores: dict[str, Any],
    seeds: dict[str, Any],
    history: pd.DataFrame,
    predictions: pd.DataFrame,
    per_class: pd.DataFrame,
) -> str:
    """Fill in templates/report.md."""
    repeated = seeds["seeds"] > 1
    classes = [row | {"class": readable(row["class"])} for row in data["classes"]]
    present = [row for row in classes if any(row[split] for split in data["patches"])]
    return markdown.render(
        "report.md",
        run=run,
        data=data,
        scores=scores,
        leakage=leakage_rows(data["leakage"]),
        warnings=data.get("warnings", []),
        offsets=_offsets(data.get("offsets", {})),
        worldcover=tuple(run.entry.classes) == CLASSES,
        synthetic=run.entry.synthetic,
        repeated=seeds if repeated else None,
        seed_rows=_seed_rows(seeds) if repeated else [],
        ensemble=[_ensemble(found) for found in (seeds["ensemble"], seeds["ensemble"]["val"])] if repeated else [],
        against_by_seeds=[_against(name, found) for name, found in seeds.get("against", {}).items()],
        against=[_against(name, found) for name, found in scores["test"]["against"].items()],
        results=result_rows(scores, baselines),
        how_split=how_split(run.entry.split),
        inputs=inputs_of(data),
        light_alone=set(inputs_of(data)) <= set(BANDS),
        radar=data.get("radar"),
        importance=_importance_rows(scores["test"].get("importance", [])),
        permutations=PERMUTATIONS,
        classes=present,
        absent=[row["class"] for row in classes if row not in present],
        untested=[row["class"] for row in present if not row["test"]],
        untrained=[row["class"] for row in present if row["test"] and not row["train"]],
        network=run.model.describe(),
        epochs=len(history),
        best=history.loc[history["val_loss"].idxmin()],
        last=history.iloc[-1],
        per_class=_class_rows(per_class),
        few=FEW,
        errors=_error_rows(predictions),
    )
