"""Run the experiments of experiments.yaml through DVC, and set them side by side.

    python -m stages.experiment run [NAME ...]    all of them, if none is named
    python -m stages.experiment table             of those that were run, from their last run

By hand, outside the DAG. Each runs as `dvc exp run --name NAME -S ...` and is repeated over SEEDS.
"""

import argparse
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from stages import cli, markdown, metrics, predictions
from stages.errors import InputError
from stages.revision import Revision, git

EXPERIMENTS = Path("experiments.yaml")
SEEDS = [1, 2, 3]
REFERENCE = "notebook"
RESAMPLES = {"resamples": 10_000, "seed": 0}


def load(path: Path = EXPERIMENTS) -> dict[str, dict[str, Any]]:
    return yaml.safe_load(path.read_text())


def run(name: str, changes: dict[str, Any]) -> None:
    """Run one experiment by `dvc exp run`, in a folder of its own.

    Raises:
        InputError: DVC or a stage failed, and said why.
    """
    settings = {**changes, "repeat.seeds": SEEDS}
    given = [text for key, value in settings.items() for text in ("-S", f"{key}={json.dumps(value)}")]
    if git("for-each-ref", f"refs/exps/*/*/{name}"):
        subprocess.run(["dvc", "exp", "remove", "--quiet", name], check=True)  # DVC refuses a name that is taken
    # Not in the workspace, where each experiment would start from the parameters of the one before it.
    if subprocess.run(["dvc", "exp", "run", "--temp", "--name", name, *given]).returncode:
        raise InputError(f"experiment {name}: dvc exp run failed; its message stands above")


def summarize(experiments: dict[str, pd.DataFrame], baselines: pd.DataFrame) -> list[dict[str, str]]:
    """A row a predictor: accuracy over its seeds, and its difference from the notebook's network and the baselines.

    Args:
        experiments: by name, a seed_predictions.csv.
        baselines: a baseline_predictions.csv of the same patches.
    """
    patch_ids, labels = baselines["patch_id"], predictions.to_labels(baselines["actual"])
    simple = {name: predictions.to_labels(baselines[name])[None] for name in predictions.BASELINES}
    predictors = {predictions.BASELINES[name]: one for name, one in simple.items()}
    predictors |= {name: predictions.by_seed(table, patch_ids) for name, table in experiments.items()}
    against = {f"against {REFERENCE}": predictors.get(REFERENCE), "against band statistics": simple["band_statistics"]}

    rows = []
    for name, predicted in predictors.items():
        accuracies = (predicted == labels).mean(1)
        row = {"predictor": name, "seeds": len(predicted) if name in experiments else "-"}
        spread = f" ± {accuracies.std(ddof=1):.3f}" if len(predicted) > 1 else ""
        row["accuracy (mean ± deviation)"] = f"{accuracies.mean():.3f}{spread}"
        f1 = [metrics.macro_f1(metrics.confusion_matrix(labels, one, len(predictions.LABELS))) for one in predicted]
        row["macro F1"] = f"{np.mean(f1):.3f}"
        for column, other in against.items():
            if other is None or other is predicted:
                row[column] = "-"
            else:
                found = metrics.compare(labels, other, predicted, len(predictions.LABELS), **RESAMPLES)["accuracy"]
                text = markdown.points(found["difference"], found["low"], found["high"])
                row[column] = f"**{text}**" if metrics.judge(found) != "within noise" else text
        rows.append(row)
    return rows


def table(names: list[str]) -> str:
    """Compare the experiments that were run, each by its last run, in Markdown; what is told from noise is bold."""
    revisions = [Revision(name) for name in names if git("for-each-ref", f"refs/exps/*/*/{name}")]
    tables = {revision.name: revision.csv("reports/seed_predictions.csv") for revision in revisions}
    tables = {name: repeated for name, repeated in tables.items() if len(repeated)}
    if not tables:
        raise InputError(f"no experiment of {EXPERIMENTS} was run over seeds; run make experiments")
    baselines = Revision(next(iter(tables))).csv("reports/baseline_predictions.csv")
    return markdown.table(summarize(tables, baselines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["run", "table"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args()
    known = load()
    if unknown := [name for name in given.names if name not in known]:
        raise InputError(f"no experiment {', '.join(unknown)} in {EXPERIMENTS}; choose from {', '.join(known)}")
    names = given.names or list(known)
    if given.command == "run":
        if git("status", "--porcelain", "--untracked-files=no"):
            raise InputError("files are changed that the experiments would take along; commit or stash them first")
        for name in names:
            run(name, known[name])
    else:
        print(table(names))


if __name__ == "__main__":
    cli.guard(main)
