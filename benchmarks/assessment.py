"""How often do the intervals of `landcover assess` cover the truth, which the synthetic scene knows?

    python -m benchmarks.assessment [--points 300] [--samples 2000]

The map has the most prevalent class of every window of 120 x 120 pixels, with step 12, so every window is right.
"""

import argparse

import numpy as np

from landcover.assessment.design import allocate
from landcover.assessment.estimators import Sample, accuracy
from landcover.constants import CLASSES, PATCH_SIZE, readable
from landcover.evaluation.intervals import NORMAL
from landcover.synthetic.scene import lay_out

STEP = 12


def error_matrix() -> np.ndarray:
    """Pixels by class on the map (rows) and on the ground (columns), int64 (K, K)."""
    _, truth, _ = lay_out()
    blocks = truth.reshape(len(truth) // STEP, STEP, -1, STEP)
    counts = np.stack([(blocks == k).sum((1, 3)) for k in range(len(CLASSES))])  # (K, rows, columns) of STEP x STEP
    across = PATCH_SIZE // STEP
    windows = np.lib.stride_tricks.sliding_window_view(counts, (across, across), axis=(1, 2)).sum((3, 4))
    margin = (PATCH_SIZE - STEP) // 2
    rows, columns = windows.shape[1:]
    mapped = windows.argmax(0).repeat(STEP, 0).repeat(STEP, 1)
    ground = truth[margin : margin + rows * STEP, margin : margin + columns * STEP]
    return np.bincount((mapped * len(CLASSES) + ground).ravel(), minlength=len(CLASSES) ** 2).reshape(
        [len(CLASSES)] * 2
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assessment", description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--samples", type=int, default=2000)
    options = parser.parse_args()
    matrix, rng = error_matrix(), np.random.default_rng(0)
    mapped = np.flatnonzero(matrix.sum(1))
    sizes = matrix[mapped].sum(1)
    counts = allocate(sizes, options.points)
    strata = np.repeat(np.arange(len(mapped)), counts)
    truth = np.array([np.trace(matrix), *matrix.sum(0)]) / matrix.sum()
    wilson, plain = np.zeros((2, options.samples, len(truth)), bool)
    for number in range(options.samples):
        drawn = [rng.multivariate_hypergeometric(matrix[k], n) for k, n in zip(mapped, counts, strict=True)]
        reference = np.concatenate([np.repeat(np.arange(len(CLASSES)), row) for row in drawn])
        found = accuracy(Sample(sizes, strata, mapped[strata], reference), len(CLASSES))
        values = np.array([found.overall, *found.areas])
        value, error, low, high = values.T
        wilson[number] = (low <= truth) & (truth <= high)
        plain[number] = np.abs(value - truth) <= NORMAL * error
    names = ["overall accuracy", *(f"area of {readable(name)}" for name in CLASSES)]
    for name, share, one, other in zip(names, truth, wilson.mean(0), plain.mean(0), strict=True):
        if share:
            print(f"{name:<32} {share:6.1%}   covered by Wilson's {one:.1%}, by plain intervals {other:.1%}")
    there = truth[1:] > 0
    print(f"areas, mean over classes: {wilson[:, 1:][:, there].mean():.1%}, {plain[:, 1:][:, there].mean():.1%}")


if __name__ == "__main__":
    main()
