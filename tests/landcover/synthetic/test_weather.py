import numpy as np
import pytest

from landcover.synthetic.noise import generator
from landcover.synthetic.weather import CLIMATES, draw_weather, pressure_level


def test_pressure_levels_by_the_standard_atmosphere():
    """It has 1013 mbar at sea level, 955 at 500 m, 899 at 1000 m, 795 at 2000 m and 701 at 3000 m."""
    assert [pressure_level(metres) for metres in (0, 500, 1000, 2000, 3000)] == [1000, 950, 900, 800, 700]


def test_summers_are_warm_nights_humid_and_coasts_windy():
    def mean(biome: str, season: float, hour: int) -> tuple[float, float, float]:
        drawn = [draw_weather(generator(seed), biome, season, hour) for seed in range(200)]
        values = [(one.temperature, one.humidity, abs(one.wind[1])) for one in drawn]
        assert all(20 <= humidity <= 100 for _, humidity, _ in values)
        return tuple(np.mean(values, axis=0))

    for biome, (_, rise, *_) in CLIMATES.items():
        winter, summer, dawn = mean(biome, 0, 10), mean(biome, 1, 10), mean(biome, 1, 5)
        assert summer[0] - winter[0] == pytest.approx(rise)
        assert dawn[0] < summer[0]
        assert dawn[1] > summer[1]
    assert mean("atlantic", 1, 10)[2] > 1.3 * mean("lowland", 1, 10)[2]
