"""Baselines: predictors without a network."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from landcover.constants import NODATA
from landcover.data.places import blocks
from landcover.data.tensors import Shards

FOLDS = 5
MANY = 256  # features, beyond which Newton's method takes too much memory: (features x classes) squared numbers
BLOCK_KM = 50
LAGS = (1, 2, 4, 8, 16)  # pixels
TINY = np.float32(1e-6)  # a reflectance that replaces 0 as a divisor


def _by_patch(
    describe: Callable[[np.ndarray], np.ndarray], images: np.ndarray | Shards, threads: int, what: str, line: int = 0
) -> np.ndarray:
    # Patch by patch: a copy of all pixels in double precision would take twice the memory of the split. One thread of
    # BLAS each, as the patches are shared among threads already.
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        features = pool.map(lambda row: describe(images[row]), range(len(images)))
        progress = tqdm(features, total=len(images), desc=what, unit="patch", position=line, disable=None)
        return np.stack(list(progress))


def band_statistics(images: np.ndarray | Shards, percentiles: list[float], threads: int = 1) -> np.ndarray:
    """Mean, standard deviation and percentiles of each band, regardless of where its pixels lie.

    Args:
        images: float32 (N, C, H, W); 0 is nodata and is ignored.

    Returns:
        Features, float64 (N, C * (2 + P)).
    """

    def of(pixels: np.ndarray) -> np.ndarray:
        moments = [pixels.mean(1, dtype=np.float64), pixels.std(1, dtype=np.float64)]
        # Sorted first: NumPy sorts with vector instructions, which is faster than how it partitions for percentiles.
        return np.stack([*moments, *np.percentile(np.sort(pixels), percentiles, axis=1)], axis=1).ravel()

    def describe(image: np.ndarray) -> np.ndarray:
        pixels = image.reshape(len(image), -1)
        if pixels.all():
            return of(pixels)
        return np.concatenate([of(band[None, band != NODATA]) for band in pixels])

    return _by_patch(describe, images, threads, "band statistics")


def _with_indices(image: np.ndarray, bands: list[str]) -> np.ndarray:
    """The bands (C, H, W) and, if the bands for them are available, NDVI and NDWI, -1 ... 1."""
    if not {"B03", "B04", "B08"} <= set(bands):
        return image
    green, red, infrared = (image[bands.index(band)] for band in ("B03", "B04", "B08"))
    vegetation = (infrared - red) / np.maximum(infrared + red, TINY)
    water = (green - infrared) / np.maximum(green + infrared, TINY)
    return np.concatenate([image, vegetation[None], water[None]])


def _texture_of(band: np.ndarray) -> list[float]:
    """The features that `texture` lists, of one band (H, W); NaN is nodata."""
    # Band by band, since a band fits into a processor's cache, and a whole patch with its differences does not.
    whole = not np.isnan(band).any()

    def valid(values: np.ndarray) -> np.ndarray:
        if whole:
            return values.ravel()
        values = values[~np.isnan(values)]
        return values if len(values) else np.zeros(1, np.float32)

    def mean(values: np.ndarray) -> np.float32:
        return valid(values).mean()

    def mean_square(values: np.ndarray) -> np.float32:
        values = valid(values)
        return np.vecdot(values, values) / values.size

    average, deviation = valid(band).mean(dtype=np.float64), valid(band).std(dtype=np.float64)
    scale = np.maximum(deviation, TINY)
    across, down = band[:-1, 1:] - band[:-1, :-1], band[1:, :-1] - band[:-1, :-1]
    squared = across**2 + down**2
    steepness = valid(np.sqrt(squared))
    # The difference of the structure tensor's eigenvalues over their sum.
    difference = np.hypot(mean(across**2 - down**2), 2 * mean(across * down))
    coherence = difference / np.maximum(mean(squared), TINY**2)
    homogeneity = mean(1 / (1 + squared / (2 * (scale / 4).astype(np.float32) ** 2)))
    apart = []
    for lag in LAGS:
        sideways, downwards = band[:, lag:] - band[:, :-lag], band[lag:] - band[:-lag]
        apart.append(np.sqrt((mean_square(sideways) + mean_square(downwards)) / 2))
    of_gradient = [steepness.mean(), steepness.std(), coherence, homogeneity]
    return [average, deviation, *of_gradient, *apart, *(values / scale for values in apart)]


def texture(images: np.ndarray | Shards, bands: list[str], threads: int = 1, line: int = 0) -> np.ndarray:
    """Texture features of each band at several scales. NDVI and NDWI count as bands if they can be computed.

    For each band, in this order:
    - mean and standard deviation
    - mean and standard deviation of the gradient's magnitude, in reflectance per pixel
    - coherence of its orientation, 0 (all directions alike) to 1 (one direction); source: Bigun and Granlund, ICCV 1987
    - homogeneity, 0 to 1, of neighbours: the inverse difference moment of Haralick et al., 1973, with grey levels that
      are a quarter of the standard deviation wide and exact differences instead of counts over few levels
    - root mean square of the differences between pixels 1, 2, 4, 8 and 16 apart, down and across: the square root
      of twice the semivariogram; source: Woodcock et al., Remote Sensing of Environment 25, 1988
    - the same, divided by the standard deviation

    Args:
        images: float32 (N, C, H, W), reflectances; H and W above 16; 0 is nodata, as are differences with it.
        line: of the terminal, from the current one on, for the progress bar.

    Returns:
        Features, float64 (N, F): 16 per band; 0 where a patch has too few valid pixels.
    """

    def describe(image: np.ndarray) -> np.ndarray:
        if not image.all():
            image = np.where(image == NODATA, np.float32(np.nan), image)  # which propagates
        return np.concatenate([_texture_of(band) for band in _with_indices(image, bands)])

    return _by_patch(describe, images, threads, "texture features", line)


def majority(train_labels: np.ndarray, count: int, classes: int) -> np.ndarray:
    """Log-probabilities (count, K) equal to the train split's class frequencies for every patch."""
    # One patch is added to each class, or a class absent from train would have probability 0.
    frequencies = np.bincount(train_labels, minlength=classes) + 1
    return np.tile(np.log(frequencies / frequencies.sum()), (count, 1))


def _predict(
    model: ClassifierMixin,
    features: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    classes: int,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Log-probabilities (N, K) for the features `test`, from a model fitted to `features` and `labels`.

    Args:
        weights: of the rows, for a logistic regression; they add up to the number of patches.
    """
    known = np.unique(labels)
    # As in `majority`, one patch is added to each class, or a class absent from train would have probability 0.
    counts, patches = np.ones((len(test), classes)), len(labels) if weights is None else weights.sum()
    if len(known) == 1:
        counts[:, known] += patches  # a single class
    else:
        options = {} if weights is None else {"logisticregression__sample_weight": weights}
        counts[:, known] += patches * model.fit(features, labels, **options).predict_proba(test)
    return np.log(counts / (patches + classes))


def _regression(inverse_regularization: float, features: int) -> ClassifierMixin:
    # Newton's method takes a few steps where others take hundreds, and fewer still from a fit with another C. A step is
    # expensive with many bands and classes: lbfgs, the default, is slower on the sample but faster on thousands of
    # patches with 12 bands.
    solver = {"solver": "newton-cholesky"} if features <= MANY else {"solver": "lbfgs", "max_iter": 1000}
    regression = LogisticRegression(C=inverse_regularization, warm_start=True, **solver)
    return make_pipeline(StandardScaler(), regression)


def logistic_regression(
    features: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int, inverse_regularization: float
) -> np.ndarray:
    """Log-probabilities (N, K) for the features `test`, from a regression fitted to `features` and `labels`."""
    return _predict(_regression(inverse_regularization, features.shape[1]), features, labels, test, classes)


def mean_shares(train_shares: np.ndarray, count: int) -> np.ndarray:
    """Log-shares (count, K) equal to the train split's mean shares, float (N, K), for every patch."""
    # As in `majority`, one patch is added to each class.
    means = (train_shares.sum(0, dtype=np.float64) + 1) / (len(train_shares) + train_shares.shape[1])
    return np.tile(np.log(means), (count, 1))


def share_regression(
    features: np.ndarray, shares: np.ndarray, test: np.ndarray, inverse_regularization: float
) -> np.ndarray:
    """Log-shares (N, K) for the features `test`, from a multinomial regression fitted to `features` and `shares`."""
    return _predict_shares(_regression(inverse_regularization, features.shape[1]), features, shares, test)


def _predict_shares(model: ClassifierMixin, features: np.ndarray, shares: np.ndarray, test: np.ndarray) -> np.ndarray:
    # A row for each class of a patch, weighted by its share: the loss is then the cross-entropy to the shares.
    rows, labels = np.nonzero(shares)
    weights = shares[rows, labels].astype(np.float64)
    return _predict(model, features[rows], labels, test, shares.shape[1], weights)


def ground_groups(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """The number of the block of ground that each patch lies in, int (N,); all different if positions are unknown.

    Args:
        lon, lat: degrees, float64 (N,); NaN where unknown.
    """
    if np.isnan(lon).any() or np.isnan(lat).any():
        return np.arange(len(lon))
    return blocks(pd.DataFrame({"lon": lon, "lat": lat}), BLOCK_KM)


def choose_regularization(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, candidates: list[float]
) -> float:
    """The C of `logistic_regression` with the highest accuracy; see `_cross_validate`.

    By accuracy, because networks are compared by it. The likelihood would choose a smaller C, with a lower accuracy,
    and so a baseline that is easier to beat.
    """

    def hits(train: np.ndarray, held_out: np.ndarray, candidates: list[float]) -> list[int]:
        model, found = _regression(candidates[0], features.shape[1]), []
        for candidate in candidates:
            model.set_params(logisticregression__C=candidate)  # which starts from the fit before
            predicted = _predict(model, features[train], labels[train], features[held_out], labels.max() + 1)
            found.append(np.count_nonzero(predicted.argmax(1) == labels[held_out]))
        return found

    return _cross_validate(hits, features, labels, groups, candidates)


def choose_share_regularization(
    features: np.ndarray, shares: np.ndarray, groups: np.ndarray, candidates: list[float]
) -> float:
    """The C of `share_regression` with the lowest cross-entropy; see `_cross_validate`."""

    def likelihoods(train: np.ndarray, held_out: np.ndarray, candidates: list[float]) -> list[float]:
        model, found = _regression(candidates[0], features.shape[1]), []
        for candidate in candidates:
            model.set_params(logisticregression__C=candidate)
            predicted = _predict_shares(model, features[train], shares[train], features[held_out])
            found.append((shares[held_out] * predicted).sum())
        return found

    return _cross_validate(likelihoods, features, shares.argmax(1), groups, candidates)


def _cross_validate(
    score: Callable[[np.ndarray, np.ndarray, list[float]], list[float]],
    features: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    candidates: list[float],
) -> float:
    """The candidate with the highest score in a cross-validation; the smallest of ties.

    The five folds are stratified by class as far as whole groups allow. With fewer than five groups, no class of five
    patches, or a single class, no choice is possible: the result is the middle candidate (of two, the smaller).

    Args:
        score: of each candidate, in order of size, from the rows to fit to and those held out; added up over folds.
        features: float64 (N, F), of the train split.
        groups: int (N,); the patches of a group stay in one fold, because similar neighbours would leak between folds.
    """
    candidates = sorted(candidates)
    counts = np.bincount(labels)
    if len(np.unique(groups)) < FOLDS or counts.max() < FOLDS or np.count_nonzero(counts) == 1:
        return candidates[(len(candidates) - 1) // 2]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # may be missing in a fold, which is harmless
        folds = list(StratifiedGroupKFold(FOLDS).split(features, labels, groups))
    total = np.zeros(len(candidates))
    for train, held_out in tqdm(folds, desc="cross-validation", unit="fold", disable=None):
        if len(held_out):  # few groups of odd sizes may leave a fold without any
            total += score(train, held_out, candidates)
    return candidates[total.argmax()]


def gradient_boosting(features: np.ndarray, labels: np.ndarray, test: np.ndarray, classes: int) -> np.ndarray:
    """Log-probabilities (N, K) for the features `test`, from boosted trees fitted to `features` and `labels`.

    With fewer than twenty patches, trees cannot split, and the result is the class frequencies.
    """
    # Small trees, with a part of the features for each split: in a cross-validation on the synthetic sample's train
    # split, they are as good as larger ones, and they take a third of a second.
    model = HistGradientBoostingClassifier(
        max_iter=100, max_leaf_nodes=4, min_samples_leaf=10, l2_regularization=5, max_features=0.2, max_bins=64,
        early_stopping=False, random_state=0,
    )  # fmt: skip
    # Several threads would sum the gradients in a different order, and a split may depend on the last digit.
    with threadpool_limits(1):
        return _predict(model, features, labels, test, classes)
