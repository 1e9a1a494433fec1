import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, log_loss, top_k_accuracy_score

from landcover.commands import compare
from landcover.data.index import Index
from landcover.data.tensors import Split
from landcover.errors import InputError
from landcover.evaluation import metrics, results
from landcover.evaluation.metrics import METRICS, Metric
from landcover.evaluation.predictions import BASELINES, Predictions, parse, tabulate
from landcover.report.page import result_rows


def table_of(labels: np.ndarray, classes: list[str], log_probabilities: np.ndarray) -> pd.DataFrame:
    count = len(labels)
    index = Index(np.array([f"{i:03}" for i in range(count)]), np.ones(count), *np.full((2, count), np.nan))
    return tabulate(Split(np.empty(0), labels, [], classes, {}), index, log_probabilities)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
def test_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 500)  # the last of six classes never occurs
    log_probabilities = log_softmax(rng.normal(size=(500, 6)) + 1.5 * np.eye(6)[labels], axis=1)
    predicted, probabilities = log_probabilities.argmax(1), np.exp(log_probabilities)
    values = metrics.means(parse(table_of(labels, list("abcdef"), log_probabilities)))
    assert values.pop("brier") == pytest.approx(((probabilities - np.eye(6)[labels]) ** 2).sum(1).mean())
    assert values == pytest.approx(
        {
            "accuracy": accuracy_score(labels, predicted),
            "macro_f1": f1_score(labels, predicted, labels=range(5), average="macro"),
            "balanced_accuracy": balanced_accuracy_score(labels, predicted),
            "top2_accuracy": top_k_accuracy_score(labels, probabilities, k=2, labels=range(6)),
            "nll": log_loss(labels, probabilities, labels=range(6)),
        }
    )


@pytest.mark.parametrize("linear", [metrics.linear_f1, metrics.linear_recall])
def test_a_score_is_the_influence_of_its_patch(linear):
    """A patch a hundred times beside a hundred copies of all: the metric moves by what its score says."""
    rng = np.random.default_rng(0)
    actual = rng.choice(list("abcd"), 60, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(60) < 0.6, actual, rng.choice(list("abcde"), 60))
    values = linear(actual, predicted)
    for row in range(0, 60, 7):
        more = [np.append(np.tile(one, 100), one[row]) for one in (actual, predicted)]
        moved = linear(*more).mean() - values.mean()
        assert moved * 6001 == pytest.approx(values[row] - values.mean(), rel=0.02, abs=1e-9)


def test_scores_of_probabilities_by_hand():
    two = np.array(list("ab"))
    given = Predictions(
        two, two, two[None], [0], np.array([[0.5, 0.0]]), np.array([[0.5, 2.0]]), rank_actual=np.array([[2, 3]]),
        cross_entropy=np.array([[0.5, 1.5]]), squared_error=np.array([[0.0, 0.08]]),
    )  # fmt: skip
    scores = {name: one.tolist() for name, (one,) in metrics.all_scores(given).items()}
    assert list(scores) == list(METRICS)
    assert scores["nll"] == [[-np.log(0.5), -np.log(metrics.LEAST_PROBABILITY)]]
    assert scores["brier"] == [[0.5, 2.0]]
    assert scores["accuracy"] == [[1, 1]]
    assert scores["top2_accuracy"] == [[1, 0]]
    assert scores["cross_entropy"] == [[0.5, 1.5]]
    # The root of 0.04; each patch by its square's distance from the mean, over twice the root.
    assert scores["rmse"] == [pytest.approx([0.2 - 0.1, 0.2 + 0.1])]
    exact = np.zeros((1, 2))
    assert METRICS["rmse"].scores(replace(given, squared_error=exact)).tolist() == exact.tolist()


def test_metrics_are_left_out_where_the_table_lacks_their_column():
    two = np.array(list("ab"))
    assert list(metrics.means(Predictions(two, two, two[None], [0]))) == ["accuracy", "macro_f1", "balanced_accuracy"]


def test_an_unknown_metric_is_refused_with_the_choices():
    with pytest.raises(InputError, match="evaluate: there is no metric 'luck'; choose from accuracy, macro_f1"):
        metrics.named("luck")


def test_a_new_metric_is_one_entry(tmp_path, monkeypatch, capsys):
    """It is in the JSON of a run and of seeds, in the report's table, on the page of a comparison and among choices."""
    new = Metric("errors", "error rate", lambda p: p.predicted != p.actual, higher_is_better=False)
    monkeypatch.setitem(METRICS, "errors", new)
    truth, tables = np.tile([0, 1], 50), {}
    for name, wrong in (("base", 40), ("head", 10)):
        predicted = np.where(np.arange(100) < wrong, 1 - truth, truth)
        tables[name] = table_of(truth, ["oak", "fir"], np.log(np.where(np.eye(2)[predicted] == 1, 0.9, 0.1)))
        tables[name].to_csv(tmp_path / f"{name}.csv", index=False)

    of_run = results.of_run(tables["head"], resamples=100, seed=0)
    assert (of_run["errors"], of_run["errors_ci_low"] < 0.1 < of_run["errors_ci_high"]) == (0.1, True)
    by_seed = pd.concat([table.assign(seed=seed) for seed, table in enumerate(tables.values())])
    baselines = tables["base"][["patch_id", "actual"]].assign(majority="oak")
    assert results.of_seeds({"test": by_seed, "val": by_seed}, baselines)["val"]["errors"]["mean"] == 0.25
    rows = result_rows(dict.fromkeys(("test", "val"), of_run), dict.fromkeys(BASELINES, of_run))
    assert "error rate, lower is better" in [row["metric (95% interval)"] for row in rows]

    monkeypatch.chdir(tmp_path)
    compare.main(["--base", "base.csv", "--head", "head.csv", "--verdict", "errors", "--json", "--output", "page.md"])
    result = json.loads(capsys.readouterr().out)
    assert (result["metric"], result["verdict"], result["metrics"]["errors"]["verdict"]) == (
        "errors",
        "better",
        "better",
    )
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("**Better**: error rate -30.0 points (")
    assert "| error rate, lower is better " in page
