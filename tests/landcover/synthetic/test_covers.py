from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from landcover.constants import CLASSES
from landcover.synthetic.covers import COVERS, SPECTRAL_COVERS, Cover, render
from landcover.synthetic.landscape import Landscape, Patch, make_landscape
from landcover.synthetic.noise import generator


@pytest.fixture(scope="module")
def flat() -> Landscape:
    """Flat ground in clear air."""
    land = make_landscape(0, 0)
    relief = np.zeros_like(land.relief)
    relief[2] = -9  # no cloud
    return replace(land, relief=relief, gain=np.ones_like(land.gain), haze=0.0)


@pytest.fixture(scope="module")
def pure(flat) -> Callable[..., np.ndarray]:
    """Renders a patch of one class: digital numbers, (12, 120, 120)."""
    patch = Patch(flat, column=3, row=5)

    def pure(name: str, covers: dict[str, Cover], seed: int = 0) -> np.ndarray:
        return render(patch, np.full((120, 120), CLASSES.index(name)), covers, generator(seed))

    return pure


def structure(scene: np.ndarray) -> np.ndarray:
    """Each band relative to its mean, (12, 120, 120)."""
    return scene / scene.mean((1, 2), keepdims=True)


def test_spectral_covers_have_one_structure(pure):
    expected = structure(pure("tree_cover", SPECTRAL_COVERS))
    assert 0.05 < expected.std((1, 2)).max() < 0.2
    for name in SPECTRAL_COVERS:
        assert np.allclose(structure(pure(name, SPECTRAL_COVERS)), expected, rtol=1e-4)
    # Of the other covers it is the structure that tells.
    differences = [np.abs(structure(pure(name, COVERS)) - expected).max() for name in COVERS if name != "tree_cover"]
    assert min(differences) > 0.1


def test_spectral_covers_differ_in_their_means_and_vary_from_patch_to_patch(pure):
    assert set(SPECTRAL_COVERS) == set(CLASSES) - {"mangroves"}
    assert len({cover.spectrum for cover in SPECTRAL_COVERS.values()}) == len(SPECTRAL_COVERS)
    spectrum = SPECTRAL_COVERS["cropland"].spectrum
    gains = np.stack([pure("cropland", SPECTRAL_COVERS, seed).mean((1, 2)) for seed in range(100)]) / spectrum
    assert gains.mean() == pytest.approx(1, abs=0.03)
    # 0.08, and what the means of the texture add.
    assert 0.075 < gains.std(0).mean() < 0.095
    # Each band by itself, but for the texture, which all bands share.
    assert np.corrcoef(gains.T)[np.triu_indices(12, 1)].mean() < 0.2
