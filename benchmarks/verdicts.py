"""Are the verdicts of a comparison right? A check with simulated models whose true difference is known.

    python -m benchmarks.verdicts [--pairs 2000] [--write]

prints Markdown tables; with --write it puts them into docs/comparison.md, which says how to read them. Each pair of
models goes through the functions that `python -m landcover compare` and the table of experiments call, a sample of them
as tables through the command itself, and, for comparison, through other methods.

A model classifies a patch correctly if its ability exceeds the patch's difficulty for it. Difficulty is a sum of normal
variables: one per patch, one per patch and model, one per place and model, and one per patch and network. Ability is
set so that the accuracy is the one requested; the accuracies of networks, one for each seed and fold, scatter around
it. Beside these, classifiers of random features are really fitted in folds, with overlapping training sets.
"""

import argparse
import contextlib
import io
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.stats
from scipy.special import expit, ndtri
from tabulate import tabulate

from benchmarks import measure
from landcover.commands.compare import main as command
from landcover.data.folds import assign
from landcover.evaluation.comparison import against_baselines, compare_scores
from landcover.evaluation.intervals import CONFIDENCE, NORMAL, mean, share_interval
from landcover.evaluation.metrics import METRICS
from landcover.evaluation.predictions import BASELINES, Predictions
from landcover.evaluation.selection import choose, choose_within_folds, holm, optimism
from landcover.processes import helpers
from landcover.report.experiments import Experiments, summarize

PAGE = measure.REPOSITORY / "docs" / "comparison.md"
ACCURACY, DIFFERENCE = 0.65, 0.10
DEVIATION = 0.03  # standard deviation of the accuracy between seeds of one configuration
SHARED, OWN, BY_NETWORK = 0.4, 0.3, 0.3  # of the variance of difficulty within places
CLASSES = {"a": 0.28, "b": 0.22, "c": 0.18, "d": 0.14, "e": 0.10, "f": 0.06, "g": 0.02}  # how often each occurs
NAMES = np.array(list(CLASSES))
USUAL = 0.7  # how often a wrong prediction is the class that the patch is usually mistaken for
STEEPNESS = 2.0  # slope of the actual class's log-odds over ability minus difficulty
UNEQUAL = 0.8  # standard deviation of the logarithm of a place's size
JITTER = 2 / 111.2  # degrees (2 km), standard deviation of patches around the centre of their place


# -- What is drawn


class Model(NamedTuple):
    """A configuration, trained with `seeds` seeds."""

    accuracy: float = ACCURACY
    seeds: int = 1
    deviation: float = DEVIATION  # 0 if it has no seed


class Ground(NamedTuple):
    """The number of patches and of the places they lie in; 0 places: positions are unknown."""

    patches: int = 150
    places: int = 0
    correlation: float = 0.0  # intraclass: the places' share of the variance of a patch's difficulty for a model
    folds: int = 0  # of whole places; 0: the patches are a test split


UNPLACED = Ground()


def lay(rng: np.random.Generator, ground: Ground) -> tuple[np.ndarray, np.ndarray]:
    """The place of each patch, int (N,), and longitude and latitude, (N, 2); places lie a degree or more apart."""
    sizes = rng.lognormal(sigma=UNEQUAL, size=ground.places)
    sizes = 1 + rng.multinomial(ground.patches - ground.places, sizes / sizes.sum())
    places = np.repeat(np.arange(ground.places), sizes)
    middles = np.stack([8 + 2 * (places % 5), 46 + places // 5], axis=1)
    return places, middles + rng.normal(scale=JITTER, size=middles.shape)


class World:
    """Patches that are drawn, and what models predict for them."""

    def __init__(self, rng: np.random.Generator, ground: Ground):
        self.rng, self.ground, count = rng, ground, ground.patches
        self.places, self.positions = lay(rng, ground) if ground.places else (np.zeros(count, int), None)
        self.actual = rng.choice(len(NAMES), count, p=list(CLASSES.values()))
        self.usual = (self.actual + rng.integers(1, len(NAMES), count)) % len(NAMES)
        self.of_patch = np.sqrt(SHARED) * rng.normal(size=count)
        self.folds = None
        if ground.folds:
            lon, lat = self.positions.T
            patches = pd.DataFrame({"label": self.actual, "lon": lon, "lat": lat})
            self.folds = assign(patches, ground.folds)["fold"].to_numpy()

    def train(self, model: Model) -> list[Predictions]:
        """The test predictions of a model and, with folds, the val predictions of the same networks."""
        rng, ground, count = self.rng, self.ground, self.ground.patches
        own = self.of_patch + np.sqrt(OWN) * rng.normal(size=count)
        of_places = (np.sqrt(ground.correlation) * rng.normal(size=ground.places or 1))[self.places]
        accuracies = model.accuracy + model.deviation * rng.normal(size=(model.seeds, ground.folds or 1))
        if self.folds is None:
            return [self._predict(own, of_places, accuracies)]
        # A patch is tested by the networks of its fold, and is a val patch of those of the fold before.
        networks = (self.folds - 1, (self.folds - 2) % ground.folds)
        return [self._predict(own, of_places, accuracies[:, of_patch]) for of_patch in networks]

    def _predict(self, own: np.ndarray, of_places: np.ndarray, accuracies: np.ndarray) -> Predictions:
        rng, size, actual = self.rng, (len(accuracies), self.ground.patches), self.actual
        within = own + np.sqrt(BY_NETWORK) * rng.normal(size=size)
        difficulty = of_places + np.sqrt(1 - self.ground.correlation) * within
        margin = ndtri(np.clip(accuracies, 0.001, 0.999)) - difficulty
        other = (actual + rng.integers(1, len(NAMES), size)) % len(NAMES)
        wrong = np.where(rng.random(size) < USUAL, self.usual, other)
        p_actual = expit(STEEPNESS * margin)
        return Predictions(
            patch_ids=np.array([f"{number:04}" for number in range(size[1])]),
            actual=NAMES[actual],
            predicted=NAMES[np.where(margin > 0, actual, wrong)],
            seeds=list(range(size[0])),
            p_actual=p_actual,
            brier=2 * (1 - p_actual) ** 2,  # the rest of the probability is another class's
            positions=self.positions,
            folds=self.folds,
        )


def draw(rng: np.random.Generator, models: Sequence[Model], ground: Ground) -> list[Predictions]:
    """The test predictions of several models for the same patches, which are drawn too."""
    world = World(rng, ground)
    return [world.train(model)[0] for model in models]


class Case(NamedTuple):
    """Two configurations that are compared."""

    before: int  # seeds
    after: int
    ground: Ground = Ground()
    deviation: float = DEVIATION
    baseline: bool = False  # the first has no seed

    def draw(self, rng: np.random.Generator, *differences: float) -> list[Predictions]:
        """The first, and one for each difference from it."""
        first = Model(ACCURACY, self.before, 0 if self.baseline else self.deviation)
        others = [Model(ACCURACY + difference, self.after, self.deviation) for difference in differences]
        return draw(rng, [first, *others], self.ground)


CASES = {
    "1 run, 1 run; seeds do not matter": Case(1, 1, deviation=0),
    "1 run, 1 run; seeds matter": Case(1, 1),
    "2 seeds, 2 seeds": Case(2, 2),
    "3 seeds, 3 seeds": Case(3, 3),
    "5 seeds, 5 seeds": Case(5, 5),
    "3 seeds, 5 seeds": Case(3, 5),
    "1 run, 5 seeds": Case(1, 5),
    "1 run, 3 seeds": Case(1, 3),
    "baseline, 3 seeds": Case(1, 3, baseline=True),
    "3 seeds, 3 seeds; 6 points between seeds": Case(3, 3, deviation=2 * DEVIATION),
    "3 seeds, 3 seeds; 600 patches": Case(3, 3, Ground(600)),
}

# The designs that a user chooses between, by their names and the patches that each tests in 40 places.
DESIGNS = {
    "test split, 1 run": (1, Ground(150, 40), "these two networks on new places"),
    "test split, 3 seeds": (3, Ground(150, 40), "all seeds, with these training data"),
    "5 folds, 1 seed": (1, Ground(800, 40, folds=5), "all training data and seeds"),
    "5 folds, 2 seeds": (2, Ground(800, 40, folds=5), "all training data and seeds"),
    "5 folds, 3 seeds": (3, Ground(800, 40, folds=5), "all training data and seeds"),
}
CORRELATIONS = (0, 0.05, 0.15, 0.3)


def designed(name: str, correlation: float) -> Case:
    seeds, ground, _ = DESIGNS[name]
    deviation = DEVIATION if seeds > 1 or ground.folds else 0  # two networks are what they are
    return Case(seeds, seeds, ground._replace(correlation=correlation), deviation)


# -- Methods: this pipeline's, and plausible alternatives

Facts = dict[str, Any]  # `difference`, `low` and `high` of its interval, NaN if the method has none, and `p`
Method = Callable[[Predictions, Predictions], Facts]


def ours(before: Predictions, after: Predictions, metric: str = "accuracy") -> Facts:
    scores = (METRICS[metric].scores(one) for one in (before, after))
    return asdict(compare_scores(METRICS[metric], *scores, before.places, before.folds))


def by_command(before: Predictions, after: Predictions) -> Facts:
    """As a user would: two tables, given to the command."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, one in (("before", before), ("after", after)):
            columns = {"patch_id": one.patch_ids, "actual": one.actual, "fold": one.folds}
            columns |= {"lon": one.positions[:, 0], "lat": one.positions[:, 1]}
            tables = [
                pd.DataFrame({"seed": seed, **columns, "predicted": predicted})
                for seed, predicted in zip(one.seeds, one.predicted, strict=True)
            ]
            paths.append(f"{folder}/{name}.csv")
            pd.concat(tables).to_csv(paths[-1], index=False)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            command(["--base", paths[0], "--head", paths[1], "--json"])
    return json.loads(printed.getvalue())["metrics"]["accuracy"]


def ours_of_baseline(before: Predictions, after: Predictions) -> Facts:
    return asdict(against_baselines(after, {"texture": before})["texture"])


def _facts(difference: float, low: float, high: float, p: float) -> Facts:
    return {"difference": difference, "low": low, "high": high, "p": p}


def _right(*sides: Predictions) -> list[np.ndarray]:
    return [METRICS["accuracy"].scores(side) for side in sides]


def _changed(before: Predictions, after: Predictions) -> tuple[int, int]:
    """The patches that are fixed, and those that are broken, between two runs."""
    (one,), (other,) = _right(before, after)
    return int((other > one).sum()), int((other < one).sum())


def exact(before: Predictions, after: Predictions) -> Facts:
    fixed, broken = _changed(before, after)
    p = scipy.stats.binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    return _facts(fixed - broken, np.nan, np.nan, p)


def _by_t(difference: float, variances: Sequence[float], freedoms: Sequence[int]) -> Facts:
    error = np.sqrt(sum(variances))
    if error < 1e-9:
        return _facts(difference, difference, difference, 1.0)
    freedom = error**4 / sum(part**2 / free for part, free in zip(variances, freedoms, strict=True))
    reach = error * scipy.stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    p = 2 * scipy.stats.t.sf(abs(difference) / error, freedom)
    return _facts(difference, difference - reach, difference + reach, p)


def welch(before: Predictions, after: Predictions) -> Facts:
    one, other = (right.mean(1) for right in _right(before, after))
    variances = [side.var(ddof=1) / len(side) for side in (one, other)]
    return _by_t(other.mean() - one.mean(), variances, [len(one) - 1, len(other) - 1])


def paired_t(before: Predictions, after: Predictions) -> Facts:
    one, other = (right.mean(0) for right in _right(before, after))
    differences, count = other - one, len(one)
    return _by_t(differences.mean(), [differences.var(ddof=1) / count], [count - 1])


def over_places(before: Predictions, after: Predictions) -> Facts:
    """As if all patches were tested by the same two networks."""
    return asdict(compare_scores(METRICS["accuracy"], *_right(before, after), before.places))


class Bootstrap:
    """Patches and seeds are drawn with replacement; the interval spans the middle 95% of the differences."""

    def __init__(self, rng: np.random.Generator, patches: int, resamples: int = 1000):
        self.rng, self.resamples = rng, resamples
        self.patches = self._weights(patches)  # once for all pairs, since it takes longest

    def _weights(self, count: int) -> np.ndarray:
        return self.rng.multinomial(count, np.full(count, 1 / count), size=self.resamples) / count

    def __call__(self, before: Predictions, after: Predictions) -> Facts:
        one, other = _right(before, after)
        drawn = [((self.patches @ side.T) * self._weights(len(side))).sum(1) for side in (one, other)]
        low, high = np.quantile(drawn[1] - drawn[0], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        excludes = low > 0 or high < 0
        return _facts(other.mean() - one.mean(), low, high, float(not excludes))


def methods(case: Case, rng: np.random.Generator) -> dict[str, Method]:
    """By their names in the table."""
    by_name: dict[str, Method] = {"**this pipeline**": ours_of_baseline if case.baseline else ours}
    if max(case.before, case.after) == 1:
        by_name["McNemar, exact"] = exact
    else:
        if min(case.before, case.after) > 1:
            by_name["Welch's t-test, seeds"] = welch
        by_name["paired t-test, patches"] = paired_t
        by_name["bootstrap, patches and seeds"] = Bootstrap(rng, case.ground.patches)
    return by_name


# -- Counts, returned as shares


class Rates(NamedTuple):
    significant: float  # differences: in either direction if the models are equal, else in the right one
    covered: float  # intervals that cover the true difference; NaN if the method has none


def _detects(facts: Facts, difference: float) -> bool:
    return facts["p"] < 1 - CONFIDENCE and (difference == 0 or facts["difference"] > 0)


def _covers(facts: Facts, difference: float) -> float:
    return np.nan if np.isnan(facts["low"]) else float(facts["low"] <= difference <= facts["high"])


def simulate(case: Case, difference: float, by: dict[str, Method], pairs: int, seed: int) -> dict[str, Rates]:
    """The verdicts of each method on the same pairs."""
    rng = np.random.default_rng(seed)
    counts = {name: np.zeros(2) for name in by}
    for _ in range(pairs):
        pair = case.draw(rng, difference)
        for name, method in by.items():
            facts = method(*pair)
            counts[name] += _detects(facts, difference), _covers(facts, difference)
    return {name: Rates(*count / pairs) for name, count in counts.items()}


def against_one(tables: int, seed: int, seeds: int = 3, ground: Ground = UNPLACED) -> tuple[float, float]:
    """Eight equal experiments: how often one of seven differs significantly from the first, with and without Holm's
    correction."""
    rng = np.random.default_rng(seed)
    least = []
    for _ in range(tables):
        first, *others = draw(rng, [Model(seeds=seeds)] * 8, ground)
        p_values = [ours(first, other)["p"] for other in others]
        least.append([min(holm(p_values)), min(p_values)])
    return tuple((np.array(least) < 1 - CONFIDENCE).mean(0))


def whole_table(tables: int, seed: int) -> tuple[float, float]:
    """The same of all differences in the table of experiments, whose baselines are as good as the experiments."""
    rng = np.random.default_rng(seed)
    names = [*"abcdefgh"]
    significant = []
    for _ in range(tables):
        drawn = draw(rng, [Model(deviation=0)] * len(BASELINES) + [Model(seeds=3)] * len(names), Ground())
        baselines = pd.DataFrame({"patch_id": drawn[0].patch_ids, "actual": drawn[0].actual})
        baselines = baselines.assign(**{name: one.predicted[0] for name, one in zip(BASELINES, drawn, strict=False)})
        test = dict(zip(names, drawn[len(BASELINES) :], strict=True))
        rows = summarize(Experiments(test, test, baselines, reference=names[0]))
        cells = [text for row in rows for name, text in row.items() if name.startswith("against ") and text != "-"]
        limits = [map(float, re.search(r"\((\S+) to (\S+)\)", text).groups()) for text in cells]
        in_bold = any(text.startswith("**") for text in cells)
        significant.append([in_bold, any(low * high > 0 for low, high in limits)])
    return tuple(np.array(significant).mean(0))


def accuracy_covered(model: Model, ground: Ground, draws: int, seed: int) -> float:
    """How often the interval of an accuracy covers the true one: of a single run, or of the mean over seeds."""
    rng, covered = np.random.default_rng(seed), 0
    for _ in range(draws):
        (one,) = draw(rng, [model], ground)
        right, places = METRICS["accuracy"].scores(one), one.places
        low, high = share_interval(right[0] == 1, places) if model.seeds == 1 else mean(right, places).interval()
        covered += low <= model.accuracy <= high
    return covered / draws


class TooGood(NamedTuple):
    """Of the best of eight equal experiments: means, as shares of patches."""

    looks: float  # by how much its accuracy exceeds the true one
    estimated: float  # by `optimism`
    within: float  # by how much that of the choice within folds does; NaN without folds


def too_good(draws: int, seed: int, seeds: int = 3, ground: Ground = UNPLACED) -> TooGood:
    """Experiments are chosen on the test split, or with folds on the val patches of all folds together."""
    rng = np.random.default_rng(seed)
    gains = []
    for _ in range(draws):
        world = World(rng, ground)
        trained = {str(number): world.train(Model(seeds=seeds)) for number in range(8)}
        test, val = ({name: sides[place] for name, sides in trained.items()} for place in (0, -1))
        best, _ = choose(val)
        within = choose_within_folds(val, test).estimate.value if ground.folds else np.nan
        accuracy = METRICS["accuracy"].scores(test[best]).mean()
        gains.append([accuracy - ACCURACY, optimism(test, best), within - ACCURACY])
    return TooGood(*np.mean(gains, axis=0))


# -- Networks that are really fitted


class Features(NamedTuple):
    """A law of two equally good blocks of features: of each patch, its class's mean, its place's shift, and noise."""

    shift: float  # standard deviation of a place's, in those of the noise
    classes: float = 0.75  # standard deviation of the classes' means
    count: int = 12
    units: int = 30  # random features that a network computes from them
    ridge: float = 1.0


def refit(rng: np.random.Generator, seeds: int, law: Features, ground: Ground) -> list[Predictions]:
    """Two sides of the same law, each fitted by ridge regression in each fold, for each seed on random features."""
    world = World(rng, ground)
    means, sides = law.classes * rng.normal(size=(len(NAMES), law.count)), []
    for _ in range(2):
        noise = rng.normal(size=(ground.patches, law.count))
        shifts = law.shift * rng.normal(size=(ground.places, law.count))
        observed = means[world.actual] + shifts[world.places] + noise
        predicted = np.empty((seeds, ground.patches), int)
        for of_seed in predicted:
            for fold in range(1, ground.folds + 1):
                test = world.folds == fold
                train = ~test & (world.folds != fold % ground.folds + 1)  # without the val patches
                weights = rng.normal(size=(law.count, law.units)) / np.sqrt(law.count)
                hidden = np.maximum(observed @ weights + rng.normal(size=law.units) / 2, 0)
                square = hidden[train].T @ hidden[train] + law.ridge * np.eye(law.units)
                fitted = np.linalg.solve(square, hidden[train].T @ np.eye(len(NAMES))[world.actual[train]])
                of_seed[test] = (hidden[test] @ fitted).argmax(1)
        ids, numbers = np.array([f"{number:04}" for number in range(ground.patches)]), list(range(seeds))
        known = {"positions": world.positions, "folds": world.folds}
        sides.append(Predictions(ids, NAMES[world.actual], NAMES[predicted], numbers, **known))
    return sides


def refitted(seeds: int, law: Features, by: dict[str, Method], pairs: int, seed: int) -> dict[str, float]:
    """How often each method calls the sides different, which are equal on average over data sets and seeds."""
    rng, counts = np.random.default_rng(seed), dict.fromkeys(by, 0)
    for _ in range(pairs):
        pair = refit(rng, seeds, law, Ground(800, 40, folds=5))
        for name, method in by.items():
            counts[name] += method(*pair)["p"] < 1 - CONFIDENCE
    return {name: count / pairs for name, count in counts.items()}


# -- The page: each function returns rows of a table


Rows = list[dict[str, str]]
RATES = ("false verdicts, %", "interval covers 0, %")


def percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


def case_rows(name: str, pairs: int, seed: int) -> Rows:
    by = methods(CASES[name], np.random.default_rng([seed, 1]))
    equal = simulate(CASES[name], 0, by, pairs, seed)
    differing = simulate(CASES[name], DIFFERENCE, by, pairs, seed + 1)
    columns = (*RATES, "10 points detected, %", "interval covers 10 points, %")
    return [
        {"before, after": "" if row else name, "method": method}
        | dict(zip(columns, map(percent, (*equal[method], *differing[method])), strict=True))
        for row, method in enumerate(by)
    ]


def design_rows(name: str, correlation: float, pairs: int, seed: int) -> Rows:
    """Each world has a model before, and two after: an equal one, and a better one."""
    case, (*_, truth) = designed(name, correlation), DESIGNS[name]
    rng, counts, gains = np.random.default_rng(seed), np.zeros(4), []
    for number in range(pairs):
        before, *both = case.draw(rng, 0, DIFFERENCE)
        equal, better = (ours(before, after) for after in both)
        counts += _detects(equal, 0), _covers(equal, 0), _detects(better, DIFFERENCE), _covers(better, DIFFERENCE)
        gains.append(better["difference"])
        if number % 100 == 0:
            both_ways = better, by_command(before, both[1])
            by_functions, printed = ([facts[key] for key in ("low", "high", "p")] for facts in both_ways)
            if not np.allclose(by_functions, printed):
                raise RuntimeError(f"the command does not say what its functions say: {printed}, not {by_functions}")
    known = np.mean(np.array(gains) > NORMAL * np.std(gains, ddof=1))  # what whoever knows the standard error detects
    columns = (*RATES, "10 points detected, %", "interval covers 10 points, %", "detected with a known variance, %")
    row = {"design": name, "ICC": f"{correlation:g}", "about": truth}
    return [row | dict(zip(columns, map(percent, (*counts / pairs, known)), strict=True))]


def refit_rows(seeds: int, shift: float, pairs: int, seed: int) -> Rows:
    by = {"this pipeline": ours, "over places alone": over_places}
    row = {"5 folds, seeds": str(seeds), "shift between places": f"{shift:g}"}
    shares = refitted(seeds, Features(shift), by, pairs, seed)
    return [row | {f"false verdicts, {name}, %": percent(share) for name, share in shares.items()}]


def choice_rows(words: str, seeds: int, ground: Ground, draws: int, seed: int) -> Rows:
    figures = too_good(draws, seed, seeds, ground)
    columns = ("looks too good by points", "estimated", "chosen within folds, by points")
    return [{"best of eight equal experiments": words} | dict(zip(columns, map(percent, figures), strict=True))]


def metric_rows(name: str, pairs: int, seed: int) -> Rows:
    names = {"macro_f1": "macro F1", "balanced_accuracy": "balanced accuracy", "nll": "NLL", "brier": "Brier score"}
    by = {words: partial(ours, metric=metric) for metric, words in names.items()}
    return [
        {"before, after": "" if row else name, "metric": metric} | dict(zip(RATES, map(percent, rates), strict=True))
        for row, (metric, rates) in enumerate(simulate(CASES[name], 0, by, pairs, seed).items())
    ]


def family_rows(which: Callable[..., tuple[float, float]], words: str, tables: int, seed: int, *more: Any) -> Rows:
    columns = ("false verdict in the table with Holm's correction, %", "without correction, %")
    shares = dict(zip(columns, map(percent, which(tables, seed, *more)), strict=True))
    return [{"eight equal experiments": words} | shares]


def accuracy_rows(words: str, seeds: int, ground: Ground, draws: int, seed: int) -> Rows:
    deviation = DEVIATION if seeds > 1 else 0
    row = {"coverage at a true accuracy of": words}
    for accuracy in (0.65, 0.90, 0.95, 0.98):
        possible = accuracy + 3 * deviation <= 1  # else seeds scatter beyond 100%
        model = Model(accuracy, seeds, deviation)
        row[f"{accuracy:.0%}"] = percent(accuracy_covered(model, ground, draws, seed)) if possible else "-"
    return [row]


def table(rows: Rows) -> str:
    """In Markdown, percentages to the right."""
    sides = ["right" if "%" in name else "left" for name in rows[0]]
    return tabulate(rows, headers="keys", tablefmt="pipe", colalign=sides, disable_numparse=True)


def jobs(pairs: int) -> Iterator[list[tuple]]:
    """By table: functions that return its rows, with their arguments."""
    several = ("1 run, 1 run; seeds do not matter", "3 seeds, 3 seeds", "5 seeds, 5 seeds")
    placed = Ground(150, 20, 0.15)
    folds = Ground(800, 40, 0.15, folds=5)
    cells = [(name, correlation) for name in DESIGNS for correlation in CORRELATIONS]
    yield [(design_rows, *cell, pairs, 200 + 2 * number) for number, cell in enumerate(cells)]
    laws = [(seeds, shift) for seeds in (1, 2, 3) for shift in (0, 0.5, 1)]
    yield [(refit_rows, *law, pairs, 300 + number) for number, law in enumerate(laws)]
    yield [(case_rows, name, pairs, 2 * number) for number, name in enumerate(CASES)]
    yield [(metric_rows, name, pairs, 100 + number) for number, name in enumerate(several)]
    yield [
        (family_rows, against_one, "3 seeds; seven compared with the first", pairs, 110),
        (family_rows, against_one, "5 folds, 1 seed; seven compared with the first", pairs, 112, 1, folds),
        (family_rows, whole_table, "3 seeds; all 27 differences, with equally good baselines", pairs // 2, 111),
    ]
    yield [
        (accuracy_rows, "1 run", 1, Ground(), pairs, 120),
        (accuracy_rows, "1 run; 20 places, ICC 0.15", 1, placed, pairs, 121),
        (accuracy_rows, "3 seeds", 3, Ground(), pairs, 122),
        (accuracy_rows, "3 seeds; 20 places, ICC 0.15", 3, placed, pairs, 123),
    ]
    yield [
        (choice_rows, "on the test split, 3 seeds", 3, Ground(), pairs // 2, 130),
        (choice_rows, "over 5 folds, 1 seed; ICC 0.15", 1, folds, pairs // 2, 131),
        (choice_rows, "over 5 folds, 1 seed; ICC 0", 1, folds._replace(correlation=0), pairs // 2, 132),
    ]


def text(pairs: int) -> str:
    with helpers(os.cpu_count() or 1) as pool:
        running = [[pool.submit(*job) for job in part] for part in jobs(pairs)]
        return "\n\n".join(table([row for job in part for row in job.result()]) for part in running)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=2000, help="pairs of models in each case")
    parser.add_argument("--write", action="store_true", help="put the result into docs/comparison.md")
    given = parser.parse_args()
    result = f"`python -m benchmarks.verdicts --pairs {given.pairs}`\n\n{text(given.pairs)}"
    print(result)
    if given.write:
        measure.write("simulated", result, PAGE)


if __name__ == "__main__":
    main()
