"""What a network can see of a patch: image channels and context features, by modality."""

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import pydantic

from landcover.constants import BANDS, RADAR_BANDS
from landcover.schema import Distinct

if TYPE_CHECKING:  # parameters are checked before the instruction set is pinned, and then numpy may be imported
    import numpy as np

# The modalities, in the order of their channels and features in the tensors.
IMAGES = {"sentinel-1": RADAR_BANDS, "elevation": ("elevation",)}  # besides sentinel-2, whose bands are a choice
CONTEXT = {
    "climate_zone": tuple(f"climate_zone_{zone}" for zone in range(1, 31)),
    "season": ("season",),
    "weather": ("temperature", "relative_humidity", "wind_u", "wind_v", "pressure"),
}
SENTINEL_2 = "sentinel-2"
MODALITIES = (SENTINEL_2, *IMAGES, *CONTEXT)
OF_IMAGE = (*BANDS, *(name for names in IMAGES.values() for name in names))  # the names of image channels
OF_NAME = dict.fromkeys(BANDS, SENTINEL_2) | {
    name: modality for modality, names in (IMAGES | CONTEXT).items() for name in names
}


class Quantity(NamedTuple):
    """A physical quantity. Its plausible range is mapped to 0 ... 1 in the tensors."""

    unit: str
    low: float
    high: float

    def scaled(self, values: "np.ndarray") -> "np.ndarray":
        """Physical values to 0 ... 1, float32; valid pixels never become 0, which means nodata."""
        shares = (values.astype("float64") - self.low) / (self.high - self.low)
        return shares.clip(LEAST, 1).astype("float32")

    def physical(self, scaled: "np.ndarray") -> "np.ndarray":
        """The inverse of `scaled`, within the plausible range."""
        return self.low + scaled * (self.high - self.low)


LEAST = 1e-6
# In log_probabilities.safetensors: the prefix of the log-probabilities of the test split with one modality's values
# exchanged between patches, by so many permutations.
PERMUTED_PREFIX, PERMUTATIONS = "without/", 10
BACKSCATTER = Quantity("dB", -60, 20)
# Of image channels other than bands, and of weather. Climate zones and the season are from 0 to 1 already.
QUANTITIES = dict.fromkeys(RADAR_BANDS, BACKSCATTER) | {
    "elevation": Quantity("m", -500, 9000),
    "temperature": Quantity("K", 180, 340),
    "relative_humidity": Quantity("%", 0, 120),
    "wind_u": Quantity("m/s", -120, 120),
    "wind_v": Quantity("m/s", -120, 120),
    "pressure": Quantity("mbar", 300, 1100),
}


def image_channels(inputs: Iterable[str], bands: Iterable[str]) -> list[str]:
    """The channels of the chosen modalities: the bands of Sentinel-2, VV, VH, elevation; in this order."""
    inputs = set(inputs)
    chosen = list(bands) if SENTINEL_2 in inputs else []
    return chosen + [name for modality, names in IMAGES.items() if modality in inputs for name in names]


def context_features(inputs: Iterable[str]) -> list[str]:
    """The context features of the chosen modalities: climate zones, season, weather; in this order."""
    inputs = set(inputs)
    return [name for modality, names in CONTEXT.items() if modality in inputs for name in names]


def modality(name: str) -> str:
    """The modality of an image channel or a context feature."""
    return OF_NAME[name]


def modalities(names: Iterable[str]) -> dict[str, list[int]]:
    """The positions in `names`, image channels or context features, of each modality."""
    positions = defaultdict(list)
    for position, name in enumerate(names):
        positions[modality(name)].append(position)
    return dict(positions)


def _not_the_label(value: Any) -> Any:
    if value == "esaworldcover":
        raise ValueError("the WorldCover map is the source of the labels, so it cannot be an input")
    return value


def _valid_inputs(names: list[str]) -> list[str]:
    if not set(names) & {SENTINEL_2, *IMAGES}:
        raise ValueError(f"the network needs an image: add {', '.join((SENTINEL_2, *IMAGES))}")
    return names


# A selection of modalities as a parameter.
Inputs = Annotated[
    list[Annotated[Literal[MODALITIES], pydantic.BeforeValidator(_not_the_label)]],
    pydantic.Field(min_length=1),
    Distinct,
    pydantic.AfterValidator(_valid_inputs),
]
