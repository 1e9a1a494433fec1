"""The report page, from the other files in reports/."""

import re
from typing import Any, NamedTuple

import pandas as pd

from landcover import config
from landcover.constants import BANDS, BUFFER_KM, CLASSES, readable
from landcover.evaluation.intervals import Component
from landcover.evaluation.metrics import METRICS, SHARE
from landcover.evaluation.predictions import BASELINE_LABELS
from landcover.evaluation.reports import NEARNESS
from landcover.modalities import PERMUTATIONS, modalities
from landcover.models.registry import Architecture
from landcover.report import markdown
from landcover.report.verdicts import against_baselines, change_in, direction, points, sources

# The baselines under `shares` in baselines.json, and their labels.
SHARE_BASELINES = {"mean_shares": "mean shares", "share_regression": "regression on band statistics"}
WORST = 12  # errors in the table, as in the picture
FEW = 10  # a class with fewer test patches is marked


class Run(NamedTuple):
    """How the network was made, and what reports/*.json say of it."""

    model: Architecture
    train: config.Training
    data: dict[str, Any]
    baselines: dict[str, Any]
    scores: dict[str, Any]  # metrics.json
    seeds: dict[str, Any]
    initialization: dict[str, Any] = {}  # noqa: RUF012 (of the model's file; nobody writes to it)


def _with_interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def how_split(split: dict[str, Any]) -> str:
    """How a dataset is split, in words, from the split of its entry."""
    match split:
        case {"method": "order", "train": float(train), "val": float(val), "test": float(test)}:
            return f"by row order: shares of {train:g}, {val:g} and {test:g}, rounded to whole patches"
        case {"method": "order"}:
            return "by row order, as in the notebook"
        case {"method": "random", "seed": seed}:
            apart = "so neighbours can be on both sides, such as a train and a test patch of one field"
            return f"at random within each class (seed {seed}), {apart}"
        case {"method": "files"}:
            return "by the dataset's own lists"
        case {"method": "place", "groups": groups, "block_km": block_km, "buffer_km": buffer_km, "seed": seed}:
            groups = "tiles" if groups == "tile" else f"blocks of {block_km:g} km"
            apart = f"with a buffer of {buffer_km:g} km, whatever the date"
            return f"by place: whole {groups} of ground, {apart} (seed {seed})"


def result_rows(scores: dict[str, Any], baselines: dict[str, Any]) -> list[dict[str, str]]:
    """One row per metric: the network beside the baselines."""
    predictors = {"**network**": scores["test"]} | {
        words: baselines[name] for name, words in BASELINE_LABELS.items() if name in baselines
    }
    predictors |= {"network, on val": scores["val"]}
    rows = [
        {"metric (95% interval)": direction(metric)}
        | {
            words: _with_interval(*(of[key] for key in (name, f"{name}_ci_low", f"{name}_ci_high")))
            for words, of in predictors.items()
        }
        for name, metric in METRICS.items()
        if name in scores["test"]
    ]
    rows.append(
        {"metric (95% interval)": "expected calibration error, lower is better"}
        | {words: f"{of['ece']:.3f} (by chance {of['ece_by_chance']['mean']:.3f})" for words, of in predictors.items()}
    )
    return rows


def _seed_rows(seeds: dict[str, Any]) -> list[dict[str, Any]]:
    deviation = "standard deviation over seeds, test"
    return [
        {"mean over seeds (95% interval)" if seeds["seeds"] > 1 else "metric (95% interval)": direction(metric)}
        | {
            split: _with_interval(*(of[name][key] for key in ("mean", "low", "high")))
            for split, of in (("test", seeds), ("val", seeds["val"]))
        }
        | ({deviation: seeds[name]["std"]} if seeds["seeds"] > 1 else {})
        for name, metric in METRICS.items()
        if name in seeds
    ]


def _fold_rows(folds: dict[str, Any]) -> list[dict[str, Any]]:
    """What each fold consists of, in patches."""
    return [
        {
            **{role: each[role] for role in ("fold", "train", "val", "test")},
            "left out": each["left_out"],
            "classes without a train patch": ", ".join(map(readable, each["missing"])) or "none",
            "accuracy": each["accuracy"],
        }
        for each in folds["each"]
    ]


def _error(figures: dict[str, Any]) -> str:
    """The standard error of a share in words, and what it is made of."""
    if not figures["standard_error"]:
        return "Every patch has the same result, so the interval is Wilson's."
    components = [Component(**one) for one in figures["components"]]
    error = f"Its standard error is {100 * figures['standard_error']:.1f} points."
    return f"{error} {sources(components)}" if components else error


def _ensemble(figures: dict[str, Any]) -> str:
    """'accuracy 62.0%, +5.0 points (+1.0 to +9.0); negative log-likelihood 1.100, ...', against its members."""
    parts = []
    for name, metric in METRICS.items():
        if name in figures:
            value, *gain = (figures[name][key] for key in ("value", "difference", "low", "high"))
            level = f"{value:.1%}" if metric.unit == SHARE else f"{value:.3f}"
            parts.append(f"{metric.label} {level}, {change_in(metric, *gain)}")
    return "; ".join(parts)


def _class_rows(per_class: pd.DataFrame) -> list[dict[str, Any]]:
    """One row per class that occurs; classes with few patches are marked."""
    return [
        {
            "class": readable(row["class"]) + (" *" if row["support"] < FEW else ""),
            "support": row["support"],
            "precision": row["precision"],
            "recall (95% interval)": _with_interval(row["recall"], row["recall_low"], row["recall_high"]),
            "F1": row["f1"],
        }
        for row in per_class[per_class["support"] > 0].to_dict("records")
    ]


def _error_rows(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """The most confident errors."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    pure = (predictions["majority_fraction"] == 1).all()
    return [
        {
            "patch": f"`{patch.patch_id}`",
            "actual": readable(patch.actual),
            "predicted": readable(patch.predicted),
            "confidence": patch.confidence,
            **({} if pure else {"purity": patch.majority_fraction}),
        }
        for patch in wrong.sort_values(["confidence", "patch_id"], ascending=[False, True]).head(WORST).itertuples()
    ]


def headline(page: str) -> str:
    """What the page says between its title and its first table or section, to be read on a terminal."""
    return re.split(r"\n(?=[|#])", page.partition("\n")[2])[0].replace("**", "").strip()


def _importance_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "input": readable(row["input"]),
            "accuracy without it": row["accuracy"],
            "accuracy lost (95% interval)": points(row["cost"], row["low"], row["high"]),
        }
        for row in rows
    ]


def share_rows(scores: dict[str, Any], baselines: dict[str, Any]) -> list[dict[str, str]]:
    """One row per predictor of shares: the network, and the two baselines that predict shares."""
    predictors = {"**network**": scores["test"]["shares"]}
    predictors |= {SHARE_BASELINES[name]: figures for name, figures in baselines["shares"].items()}
    names = {"cross_entropy": "cross-entropy", "rmse": "root mean squared error", "put_wrong": "ground put wrong"}
    return [
        {"predictor (95% interval)": words}
        | {label: _with_interval(*figures[name].values()) for name, label in names.items()}
        for words, figures in predictors.items()
    ]


def area_rows(shares: dict[str, Any]) -> list[dict[str, str]]:
    """One row per class that covers some ground: its share of the test patches, and by how much it is missed."""
    return [
        {"class": readable(row["class"]), "true share": f"{row['share']:.1%}"}
        | {
            f"{words} (95% interval)": points(*row[way]["bias"].values())
            for way, words in (("summed", "sum of shares"), ("counted", "patches counted"))
        }
        | {"area by shares": _percent(row["summed"]["area"]), "area by counting": _percent(row["counted"]["area"])}
        for row in shares["classes"]
        if row["share"]
    ]


def _percent(figures: dict[str, float]) -> str:
    """'+12% (-3% to +27%)', of the error of an area."""
    value, low, high = (f"{100 * figures[key]:+.0f}%" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def facts_of(run: Run) -> dict[str, Any]:
    """What both pages say of the run."""
    _, train, data, baselines, scores, seeds, start = run
    inputs = list(data["bands"]["train"]) + list(modalities(data.get("context", {}).get("train", [])))
    leakage = data["leakage"]  # None if it is unknown
    return {
        "network": run.model.describe(),
        "train": train,
        "data": data,
        "scores": scores,
        "seeds": seeds,
        "worldcover": [row["class"] for row in data["classes"]] == [*CLASSES],
        "how_split": how_split(data["split_by"]),
        "inputs": inputs,  # image channels, then modalities of the context
        "optical_only": set(inputs) <= set(BANDS),
        "leakage": [
            {"with a train patch": words} | {split: f"{leakage[split][what]['share']:.0%}" for split in ("test", "val")}
            for what, words in NEARNESS.items()
            if leakage and what in leakage["test"]
        ],
        "results": result_rows(scores, baselines),
        "of_shares": train.target == "shares",
        "few": FEW,
        "start": start,
        "start_rows": start.get("rows", []),
    }


def report_page(run: Run, history: pd.DataFrame, predictions: pd.DataFrame, per_class: pd.DataFrame) -> str:
    """Fill in templates/report.md."""
    data, test, seeds = run.data, run.scores["test"], run.seeds
    folds = seeds.get("folds")
    repeated, ensemble = bool(folds) or seeds["seeds"] > 1, seeds.get("ensemble")
    classes = [row | {"class": readable(row["class"])} for row in data["classes"]]
    present = [row for row in classes if any(row[split] for split in data["patches"])]
    return markdown.render(
        "report.md",
        **facts_of(run),
        repeated=seeds if repeated else None,
        seed_rows=_seed_rows(seeds) if repeated else [],
        folds=folds,
        fold_rows=_fold_rows(folds) if folds else [],
        error_of_folds=_error(seeds["accuracy"]) if folds else None,
        tested=sum(each["test"] for each in folds["each"]) if folds else test["n"],
        buffer_km=data["split_by"].get("buffer_km", BUFFER_KM),
        ensemble=[_ensemble(figures) for figures in (ensemble, ensemble["val"])] if ensemble else [],
        against_by_seeds=against_baselines(seeds.get("against", {})),
        against=against_baselines(test["against"]),
        importance=_importance_rows(test.get("importance", [])),
        permutations=PERMUTATIONS,
        shares=test.get("shares"),
        share_rows=share_rows(run.scores, run.baselines) if "shares" in test else [],
        area_rows=area_rows(test["shares"]) if "shares" in test else [],
        review=seeds.get("label_review"),
        classes=present,
        absent=[row["class"] for row in classes if row not in present],
        unvalidated=[row["class"] for row in present if not row["val"]],
        untested=[row["class"] for row in present if not row["test"]],
        untrained=[row["class"] for row in present if row["test"] and not row["train"]],
        history=history.to_dict("records"),
        best=history.loc[history["val_loss"].idxmin()],
        per_class=_class_rows(per_class),
        errors=_error_rows(predictions),
    )
