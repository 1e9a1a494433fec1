"""The page that a reviewer reads, from what the reports hold."""

from typing import Any, NamedTuple

import pandas as pd

from landcover.ground import params
from landcover.ground.benge import readable
from landcover.judgement.leakage import NEARNESS
from landcover.judgement.predictions import BASELINES
from landcover.judgement.verdict import judge
from landcover.pages import markdown

WORST = 10  # errors in the table


class Run(NamedTuple):
    """What params.yaml says of the run."""

    dataset: str
    entry: params.Dataset
    model: params.Architecture
    train: params.Training


def _with_interval(values: dict[str, float], name: str) -> str:
    """'0.600 (0.520 to 0.680)'."""
    return f"{values[name]:.3f} ({values[f'{name}_ci_low']:.3f} to {values[f'{name}_ci_high']:.3f})"


def _against(name: str, found: dict[str, float]) -> str:
    words = {"better": "better by", "worse": "worse by", "within noise": "within noise,"}
    points = markdown.points(found["difference"], found["low"], found["high"])
    p = markdown.p_value(found["p"])
    return f"Against {BASELINES[name]}: **{words[judge(found)]} {points}** (McNemar's exact test, {p})."


def _how_split(split: params.Split) -> str:
    match split:
        case params.Order():
            return "by the row order of the meta table, as in the notebook"
        case params.Files():
            return "by the dataset's own split files"
        case params.Place():
            groups = "tiles" if split.groups == "tile" else f"blocks of {split.block_km:g} km"
            apart = f"with a buffer of {split.buffer_km:g} km, whatever the date"
            return f"by place: whole {groups} of ground, {apart} (seed {split.seed})"


def _result_rows(scores: dict[str, Any], baselines: dict[str, Any]) -> list[dict[str, Any]]:
    named = [("**network**", scores["test"]), *((text, baselines[name]) for name, text in BASELINES.items())]
    return [
        {
            "predictor": name,
            "accuracy (95 % interval)": _with_interval(values, "accuracy"),
            "macro F1 (95 % interval)": _with_interval(values, "macro_f1"),
            "balanced accuracy": values["balanced_accuracy"],
            "NLL": values["nll"],
            "ECE": values["ece"],
        }
        for name, values in [*named, ("network, on val", scores["val"])]
    ]


def _leakage_rows(leakage: dict[str, Any] | None) -> list[dict[str, str]]:
    return [
        {"a train patch lies": words} | {split: f"{leakage[split][what]['share']:.0%}" for split in ("test", "val")}
        for what, words in NEARNESS.items()
        if leakage
    ]


def _network(model: params.Architecture) -> str:
    kind = "residual layers" if model.residual else "convolutional layers"
    widths = " - ".join(map(str, model.convolutions))
    linear = f"linear layers of {' - '.join(map(str, model.linear))}" if model.linear else "no linear layer between"
    extras = [
        name.replace("_", " ") for name in ("batch_norm", "global_pooling", "standardize") if getattr(model, name)
    ]
    extras += [f"dropout {model.dropout}"] if model.dropout else []
    parts = [f"{len(model.convolutions)} {kind} of {widths} channels", linear, *extras]
    return f"{', '.join(parts)}; kernel {model.kernel}, stride {model.stride}, pooling {model.pool}"


def report_page(
    run: Run,
    data: dict[str, Any],
    baselines: dict[str, Any],
    scores: dict[str, Any],
    history: pd.DataFrame,
    predictions: pd.DataFrame,
    per_class: pd.DataFrame,
) -> str:
    """Fill in templates/report.md."""
    classes = [row | {"class": readable(row["class"])} for row in data["classes"]]
    present = [row for row in classes if any(row[split] for split in data["patches"])]
    occurring = per_class[per_class["support"] > 0]
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    worst = wrong.sort_values(["confidence", "patch_id"], ascending=[False, True]).head(WORST)
    return markdown.render(
        "report.md",
        run=run,
        data=data,
        scores=scores,
        leakage=_leakage_rows(data["leakage"]),
        synthetic=run.entry.source == "sample",
        against=[_against(name, scores["test"]["against"][name]) for name in BASELINES],
        results=_result_rows(scores, baselines),
        how_split=_how_split(run.entry.split),
        bands=list(data["bands"]["train"]),
        classes=present,
        absent=[row["class"] for row in classes if row not in present],
        untested=[row["class"] for row in present if not row["test"]],
        untrained=[row["class"] for row in present if row["test"] and not row["train"]],
        network=_network(run.model),
        epochs=len(history),
        best=history.loc[history["val_loss"].idxmin()],
        per_class=occurring.assign(**{"class": occurring["class"].map(readable)}).to_dict("records"),
        errors=worst[["patch_id", "actual", "predicted", "confidence", "majority_fraction"]].to_dict("records"),
    )
