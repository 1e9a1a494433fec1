"""Random fields from exactly rounded operations only (+ - * /, sqrt, integers).

The last bit of numpy's exp and sin, and of sums by BLAS, differs between CPUs and could change a digital number of the
sample.
"""

import math

import numpy as np


def generator(seed: int, *key: int) -> np.random.Generator:
    """The generator of one part of the sample, named by `key`."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def noise(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Nearly normal noise with mean 0 and variance 1: sums of four uniforms, which need no logarithm."""
    a, b, c, d = rng.random((4, *shape), dtype=np.float32)
    total = a + b
    total += c
    total += d
    total -= 2
    total *= np.float32(math.sqrt(3))
    return total


def spline(knots: np.ndarray, step: int) -> np.ndarray:
    """Quadratic B-spline surface: knots (..., m + 2, n + 2) -> pixels (..., m * step, n * step)."""
    t = (np.arange(step, dtype=np.float32)[:, None] + np.float32(0.5)) / step
    weights = (1 - t) * (1 - t) / 2, t * (1 - t) + np.float32(0.5), t * t / 2
    for _ in range(2):  # rows, then columns
        count = knots.shape[-2] - 2
        rows = weights[0] * knots[..., :count, None, :]
        for i in (1, 2):
            rows += weights[i] * knots[..., i : i + count, None, :]
        knots = np.ascontiguousarray(rows.reshape(*knots.shape[:-2], count * step, -1).swapaxes(-1, -2))
    return knots


def smooth(rng: np.random.Generator, step: int, size: int, count: int = 2) -> np.ndarray:
    """Smooth fields, with a knot every `step` pixels, (count, size, size)."""
    side = size // step + 2
    return spline(noise(rng, count, side, side), step) * np.float32(1.8)
