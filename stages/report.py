"""Tell the run on one page.  reports/*.json, *.csv -> reports/report.md"""

import json
from pathlib import Path

import pandas as pd

from landcover.ground import files
from landcover.ground.params import Architecture, Dataset, Training
from landcover.pages.report import Run, report_page


def report(
    data_json: Path,
    baselines_json: Path,
    history_csv: Path,
    metrics_json: Path,
    seeds_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    report_md: Path,
    *,
    dataset: str,
    datasets: dict[str, Dataset],
    model: Architecture,
    train: Training,
) -> None:
    """Write the page that a reviewer reads."""
    jsons = (data_json, baselines_json, metrics_json, seeds_json)
    data, baselines, scores, seeds = (json.loads(path.read_bytes()) for path in jsons)
    history, predictions, per_class = map(pd.read_csv, (history_csv, predictions_csv, per_class_csv))
    run = Run(dataset, datasets[dataset], model, train)
    with files.replacing(report_md) as part:
        page = report_page(run, data, baselines, scores, seeds, history, predictions, per_class)
        part.write_text(page, encoding="utf-8")
