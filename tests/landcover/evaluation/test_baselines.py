import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from landcover.evaluation import baselines

pytestmark = pytest.mark.filterwarnings("error")

PER_BAND = 16
MEAN, DEVIATION, STEEPNESS, STEEPNESS_DEVIATION, COHERENCE, HOMOGENEITY = range(6)
APART, RELATIVE = slice(6, 11), slice(11, 16)  # 1, 2, 4, 8 and 16 pixels


# -- features


def test_band_statistics_by_hand():
    images = np.array([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 5.0], [5.0, 5.0]]]], np.float32)
    result = baselines.band_statistics(images, [0, 50, 100])
    assert result[0].tolist() == pytest.approx([2.5, np.sqrt(1.25), 1, 2.5, 4, 5, 0, 5, 5, 5])


def test_the_texture_of_a_ramp_by_hand():
    down, across = np.mgrid[:32, :32]
    ramp = (1 + (3 * across + 4 * down) / 1024)[None, None].astype(np.float32)  # sums of binary fractions: exact
    result = baselines.texture(ramp, ["B02"])[0]
    assert result.shape == (PER_BAND,)
    deviation = 5 * np.sqrt((32**2 - 1) / 12) / 1024
    assert result[[MEAN, DEVIATION]] == pytest.approx([1 + 7 * 15.5 / 1024, deviation])
    assert result[[STEEPNESS, STEEPNESS_DEVIATION]] == pytest.approx([5 / 1024, 0])
    assert result[COHERENCE] == pytest.approx(1)
    assert result[HOMOGENEITY] == pytest.approx(1 / (1 + 12.5 / (1024 * deviation / 4) ** 2))
    apart = np.sqrt((3**2 + 4**2) / 2) * np.array([1, 2, 4, 8, 16]) / 1024
    assert result[APART] == pytest.approx(apart)
    assert result[RELATIVE] == pytest.approx(apart / deviation)


def test_a_chequerboard_has_no_direction_and_comes_back_after_two_pixels():
    board = (1 + np.indices((32, 32)).sum(0) % 2)[None, None].astype(np.float32)
    result = baselines.texture(board, ["B02"])[0]
    assert result[[MEAN, DEVIATION, STEEPNESS]] == pytest.approx([1.5, 0.5, np.sqrt(2)])
    assert result[HOMOGENEITY] == pytest.approx(1 / (1 + 8**2))  # neighbours are two deviations, eight levels, apart
    assert result[APART].tolist() == [1, 0, 0, 0, 0]


def test_a_flat_patch_has_no_texture():
    result = baselines.texture(np.full((1, 1, 20, 20), 0.25, np.float32), ["B02"])[0]
    assert result[[MEAN, HOMOGENEITY]].tolist() == [0.25, 1]
    assert np.delete(result, [MEAN, HOMOGENEITY]).tolist() == [0] * (PER_BAND - 2)


@pytest.mark.parametrize(("bands", "extra"), [(["B08"], 0), (["B03", "B04"], 0), (["B08", "B04", "B02", "B03"], 2)])
def test_texture_is_of_any_bands_and_of_indices_if_they_can_be_made(bands, extra):
    values = {"B02": 0.1, "B03": 0.1, "B04": 0.2, "B08": 0.6}
    images = np.stack([np.full((20, 20), values[band], np.float32) for band in bands])[None]
    means = baselines.texture(images, bands)[0].reshape(-1, PER_BAND)[:, MEAN]
    assert means == pytest.approx([*(values[band] for band in bands), *[0.4 / 0.8, -0.5 / 0.7][:extra]])


def test_a_dark_patch_has_finite_indices():
    assert np.isfinite(baselines.texture(np.full((1, 3, 20, 20), 1e-4, np.float32), ["B03", "B04", "B08"])).all()


# -- predictions


def test_the_majority_is_the_train_splits_largest_class_with_its_frequencies():
    result = baselines.majority(np.array([1, 1, 0]), 2, 3)
    assert result.argmax(1).tolist() == [1, 1]
    assert np.exp(result[0]) == pytest.approx([2 / 6, 3 / 6, 1 / 6])


def regression(features, labels, test, classes):
    return baselines.logistic_regression(features, labels, test, classes, 1.0)


both = pytest.mark.parametrize("predict", [regression, baselines.gradient_boosting])


@both
def test_each_learns_and_leaves_unknown_classes_improbable(predict):
    features, labels = np.repeat([[0.0], [0.1], [1.0], [1.1]], 20, axis=0), np.repeat([0, 0, 2, 2], 20)
    predicted = predict(features, labels, np.array([[0.0], [1.0]]), 4)
    assert predicted.argmax(1).tolist() == [0, 2]
    assert np.exp(predicted).sum(1) == pytest.approx([1, 1])
    assert np.exp(predicted[:, [1, 3]]) == pytest.approx(1 / (80 + 4))


@both
@pytest.mark.parametrize("labels", [[0], [0, 1, 2], [0, 0, 0, 5], [0] * 30 + [1], [2, 2, 2]], ids=str)
def test_few_patches_are_no_error(predict, labels):
    features = np.random.default_rng(0).random((len(labels), 16))
    shares = np.exp(predict(features, np.array(labels), features, 4 + max(labels)))
    assert shares.sum(1) == pytest.approx(1)
    if len(set(labels)) == 1:  # a class alone is always predicted
        count = len(labels)
        assert shares[:, labels[0]] == pytest.approx((count + 1) / (count + 4 + labels[0]))


def test_what_only_arrangement_tells_is_seen_by_texture_and_not_by_band_statistics():
    rng = np.random.default_rng(0)
    speckled = rng.random((80, 1, 24, 24), np.float32)
    sorted_pixels = np.sort(speckled.reshape(80, -1), axis=1).reshape(speckled.shape)
    images, labels = np.concatenate([speckled, sorted_pixels]), np.repeat([0, 1], 80)  # the same values, pair by pair
    statistics, textures = baselines.band_statistics(images, [5, 50, 95]), baselines.texture(images, ["B02"])
    assert statistics[:80] == pytest.approx(statistics[80:])
    predicted = baselines.gradient_boosting(textures[::2], labels[::2], textures[1::2], 2).argmax(1)
    assert predicted.tolist() == labels[1::2].tolist()


def test_threads_change_no_byte():
    rng = np.random.default_rng(0)
    images, labels = rng.random((200, 3, 20, 20), np.float32), rng.integers(0, 4, 200)

    def predicted(threads: int) -> bytes:
        with threadpool_limits(threads):
            features = baselines.texture(images, ["B03", "B04", "B08"], threads)
            return baselines.gradient_boosting(features, labels, features, 11).tobytes()

    assert predicted(1) == predicted(2) == predicted(2)


# -- regularization


def noisy(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each of a hundred features tells the class a little: whoever weighs them freely is misled by their noise."""
    labels = np.arange(count) % 2
    return np.random.default_rng(seed).normal(size=(count, 100)) + 0.2 * labels[:, None], labels


def test_a_small_c_is_chosen_where_it_is_right_more_often():
    features, labels = noisy(200, seed=0)
    assert baselines.choose_regularization(features, labels, np.arange(200), [1000, 0.01]) == 0.01


def test_a_large_c_is_chosen_where_a_small_one_knows_but_the_majority():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(200, 2)), np.repeat([0, 0, 0, 0, 1], 40)
    features[:, 0] += 2 * labels
    features[:, 1] -= 2 * labels
    assert baselines.choose_regularization(features, labels, np.arange(200), [1e-4, 1]) == 1


def test_of_equals_the_smallest_c_is_chosen():
    features, labels = np.repeat([[0.0], [1.0]], 50, axis=0), np.repeat([0, 1], 50)
    assert baselines.choose_regularization(features, labels, np.arange(100), [100, 1, 10]) == 1


def test_patches_of_one_block_do_not_tell_on_each_other():
    # Three patches a block that look the same, which a large C learns by heart.
    looks, labels = (np.repeat(values, 3, axis=0) for values in noisy(100, seed=0))
    looks += np.random.default_rng(1).normal(scale=0.01, size=looks.shape)
    assert baselines.choose_regularization(looks, labels, np.arange(300), [0.01, 1000]) == 1000
    assert baselines.choose_regularization(looks, labels, np.repeat(np.arange(100), 3), [0.01, 1000]) == 0.01


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0, 1, 0], [0, 1, 2]),
        ([0] * 20, range(20)),
        ([0, 1] * 10, [0, 1, 2, 3] * 5),
        ([0, 1, 2, 3, 4, 5], range(6)),
    ],
    ids=["few patches", "one class", "few groups", "no class of five"],
)
def test_the_middle_candidate_is_taken_where_nothing_can_be_chosen(labels, groups):
    features = np.random.default_rng(0).random((len(labels), 3))
    for candidates in ([10, 0.1, 1], [10, 100, 1, 0.1], [1]):
        assert baselines.choose_regularization(features, np.array(labels), np.array(groups), candidates) == 1


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        ([0] * 20 + [7] * 20 + [3] * 2, range(42)),
        ([0] * 20 + [7] * 20 + [3] * 4, [*range(20), *[20] * 20, *range(40, 44)]),
        ([0] * 20 + [1] * 5, [*range(20), *[20] * 5]),
    ],
    ids=["rare class", "class in one block", "single class in some folds"],
)
def test_a_class_that_is_not_in_each_fold_is_no_error(labels, groups):
    features = np.random.default_rng(0).normal(size=(len(labels), 4)) + np.array(labels)[:, None]
    assert baselines.choose_regularization(features, np.array(labels), np.array(groups), [0.1, 10]) in (0.1, 10)


def test_groups_are_blocks_of_ground_where_places_are_known():
    lon, lat = np.array([10.0, 10.001, 15.0]), np.array([50.0, 50.001, 50.0])
    assert np.unique(baselines.ground_groups(lon, lat), return_inverse=True)[1].tolist() == [0, 0, 1]
    assert baselines.ground_groups(np.full(3, np.nan), np.full(3, np.nan)).tolist() == [0, 1, 2]


def test_nodata_is_in_no_statistic():
    image = np.random.default_rng(0).uniform(0.1, 0.9, (4, 40, 40)).astype(np.float32)
    whole = np.stack([image[:, :30]])
    holed = image.copy()
    holed[:, 30:] = 0
    bands = ["B02", "B03", "B04", "B08"]
    assert baselines.band_statistics(holed[None], [5, 95]) == pytest.approx(baselines.band_statistics(whole, [5, 95]))
    assert baselines.texture(holed[None], bands) == pytest.approx(baselines.texture(whole, bands), rel=1e-5)
    # In one band only, and with a single pixel left, which has no neighbour.
    holed = np.ones_like(image)
    holed[0] = 0
    holed[0, 7, 7] = 0.5
    assert baselines.band_statistics(holed[None], [50]).tolist() == [[0.5, 0, 0.5] + [1, 0, 1] * 3]
    result = baselines.texture(holed[None], bands)
    assert result[0, :3].tolist() == [0.5, 0, 0]
    assert np.isfinite(result).all()
    # With no pixel left in one band, its features are 0, and the others are as without nodata.
    holed = image.copy()
    holed[0] = 0
    result, intact = (baselines.texture(patch[None], bands)[0].reshape(-1, PER_BAND) for patch in (holed, image))
    assert not result[0].any()
    assert result[1:].tolist() == intact[1:].tolist()


def test_shares_are_predicted_by_their_mean_and_from_band_statistics():
    features = np.repeat([[-1.0], [1.0]], 50, axis=0)
    shares = np.repeat([[0.8, 0.2, 0], [0.4, 0.6, 0]], 50, axis=0)
    assert np.exp(baselines.mean_shares(shares, 2)) == pytest.approx(np.tile([61, 41, 1], (2, 1)) / 103)
    predicted = np.exp(baselines.share_regression(features, shares, np.array([[-1.0], [1.0]]), 1000))
    assert predicted == pytest.approx((100 * shares[[0, 50]] + 1) / 103, abs=0.01)
    groups = np.arange(100) % 10
    choice = baselines.choose_share_regularization(features, shares, groups, [0.001, 1000])
    assert choice == 1000  # the other one hardly moves from the mean
