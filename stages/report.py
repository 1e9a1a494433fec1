"""Summarize the run.  data/tensors, models/model.safetensors, reports/* -> reports/report.md, models/card.md, *.json"""

import json
from pathlib import Path

import pandas as pd

from landcover import files
from landcover.config import Training
from landcover.data import tensors
from landcover.data.index import load_index
from landcover.models.registry import Architecture
from landcover.report.card import card_page
from landcover.report.model_item import model_item
from landcover.report.page import Run, headline, report_page


def report(
    tensors_dir: Path,
    model_path: Path,
    data_json: Path,
    baselines_json: Path,
    history_csv: Path,
    metrics_json: Path,
    seeds_json: Path,
    predictions_csv: Path,
    per_class_csv: Path,
    report_md: Path,
    card_md: Path,
    model_json: Path,
    *,
    train: Training,
) -> None:
    """Write the page that a reviewer reads, and the card and the STAC item that go with the model."""
    jsons = (data_json, baselines_json, metrics_json, seeds_json)
    contents = [json.loads(path.read_bytes()) for path in jsons]
    tables = map(pd.read_csv, (history_csv, predictions_csv, per_class_csv))
    facts = tensors.load(model_path)[1]
    run = Run(Architecture.from_json(facts["architecture"]), train, *contents, facts.get("initialization", {}))
    page = report_page(run, *tables)
    for path, content in ((report_md, page), (card_md, card_page(model_path, facts, run))):
        with files.replacing(path) as part:
            part.write_text(content, encoding="utf-8")
    files.write_json(model_json, model_item(model_path, facts, run, load_index(tensors_dir, "train")))
    print(f"{headline(page)}\n\nThe whole report: {report_md}")
