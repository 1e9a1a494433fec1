"""What it takes to detect a difference, in words: before anything is trained."""

from landcover.evaluation.comparison import Verdict
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.planning import POWER, least_detected, over_all, rehearse
from landcover.evaluation.predictions import BASELINE_LABELS, Predictions
from landcover.evaluation.reports import Extent, Reports
from landcover.report import markdown
from landcover.report.verdicts import plan_rows, rounded

FOLDS = 5  # of the test that is proposed


def _detected(verdict: Verdict) -> str:
    return rounded(METRICS[verdict.metric], least_detected(verdict))


def _over_all(verdict: Verdict, run: Predictions, everything: Extent) -> list[str]:
    """What a test in folds detects: the least, if the number of patches counts alone, and if that of places does."""
    known = [(everything.patches, len(run.patch_ids))]
    if run.places is not None and everything.places:
        known.append((everything.places, int(run.places.max() + 1)))
    return [_detected(over_all(verdict, count / tested, FOLDS, len(run.seeds))) for count, tested in known]


def plan_page(side: Reports, run: Predictions, baselines: dict[str, Predictions], everything: Extent) -> str:
    """What this run's tests can detect, and what it takes to detect less.

    Args:
        run: the predictions of `side` that another configuration would be compared with.
        baselines: of the same patches, at least one.
        everything: all patches of the dataset, which folds test.
    """
    name, verdict = rehearse(run, baselines)
    folds = None if run.folds is None else len(set(run.folds))
    return markdown.render(
        "plan.md",
        side=side.revision,
        patches=len(run.patch_ids),
        places=None if run.places is None else int(run.places.max() + 1),
        seeds=len(run.seeds),
        folds=folds,
        baseline=BASELINE_LABELS[name],
        power=f"{POWER:.0%}",
        detected=_detected(verdict),
        over_all=[] if folds else _over_all(verdict, run, everything),
        proposed=FOLDS,
        everything=everything,
        rows=plan_rows(verdict, len(run.seeds)),
    )
