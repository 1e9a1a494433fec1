"""The weather of the samples: by biome, season, hour and elevation, and by chance."""

from dataclasses import dataclass

import numpy as np

from landcover.synthetic.noise import noise

# Mean temperature at sea level in K, its rise from the winter to the summer solstice in K, relative humidity in %, and
# the standard deviation of wind in m/s: mild and windy at coasts, harsh in the north and inland.
CLIMATES = {
    "lowland": (283, 16, 72, 2.5),
    "atlantic": (283, 10, 82, 4.0),
    "continental": (281, 21, 70, 2.2),
    "mediterranean": (289, 14, 58, 3.0),
    "boreal": (276, 24, 74, 2.4),
    "mountain": (284, 17, 68, 2.8),
}
LAPSE = 0.0065  # K a metre
# ERA-5's pressure levels near the ground, in mbar.
LEVELS = (1000, 975, 950, 925, 900, 875, 850, 825, 800, 775, 750, 700, 650, 600)


@dataclass(frozen=True)
class Weather:
    """At sea level, in one landscape at one time."""

    temperature: float  # K
    humidity: float  # %
    wind: tuple[float, float]  # to the east and to the north, m/s

    def temperature_at(self, elevation: np.ndarray) -> np.ndarray:
        """K, if this is the weather at sea level; `elevation` is in metres."""
        return self.temperature - LAPSE * elevation


def draw_weather(rng: np.random.Generator, biome: str, season: float, hour: int) -> Weather:
    """The weather at sea level on a day.

    Args:
        season: 0 at the winter solstice, 1 at the summer solstice.
        hour: of the day, in UTC. Mornings are colder and more humid.
    """
    mean, rise, humidity, gusts = CLIMATES[biome]
    chance, damp, east, north = noise(rng, 4).tolist()
    return Weather(
        temperature=mean + rise * (season - 0.5) + 0.8 * (hour - 8) + 2 * chance,
        humidity=min(max(humidity - 3 * (hour - 8) + 7 * damp, 20.0), 100.0),
        wind=(1.5 + gusts * east, 0.5 + gusts * north),
    )


def pressure_level(elevation: float) -> int:
    """The pressure level of ERA-5 nearest to this elevation in metres, in mbar."""
    pressure = 1013.25 - 0.1201 * elevation + 5.2e-6 * elevation * elevation  # within 2 mbar up to 3000 m
    return min(LEVELS, key=lambda level: abs(level - pressure))
