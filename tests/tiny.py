"""A tiny ben-ge, with numbers that one can work out by hand."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import yaml
from PIL import Image

from landcover import config, constants
from landcover.data.layout import Patches
from landcover.data.layouts import ben_ge
from landcover.data.raster import PatchPixels, gdal, read_patch

REPOSITORY = Path(__file__).resolve().parents[1]
LOCAL = config.Runtime(
    device="cpu", threads=1, instruction_set="avx2", launcher="python", workers=1, dask=None, resident_gigabytes=1
)
# A patch id of ben-ge: <acquisition>_<column>_<row>.
PATCH_ID = re.compile(r"(?P<acquisition>S2[A-Z]_MSIL\w{1,150}?)_(?P<column>\d{1,3})_(?P<row>\d{1,3})", re.ASCII)
EUROSAT = REPOSITORY.parent / "shared" / "data" / "eurosat"
REAL_ARCHIVE = REPOSITORY.parent / "shared" / "data" / "ben-ge-real.tar.gz"


def entry(**facts) -> config.Dataset:
    """An entry of `datasets` in params.yaml."""
    split = {"method": "order", "train": 4, "val": 2, "test": 2}
    return config.Dataset.model_validate({"source": "x", "split": split} | facts)


def write_tile(path: Path, pixels: np.ndarray, **profile) -> None:
    """Write pixels (H, W) or (bands, H, W) as a GeoTIFF, whose pixels are of the size of the band in its name."""
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    metres = constants.BANDS.get(path.stem[-3:], 10)
    transform = rasterio.transform.from_origin(500_000, 5_000_000, metres, metres)
    options = {"driver": "GTiff", "crs": "EPSG:32633", "transform": transform} | profile
    with rasterio.open(
        path, "w", height=pixels.shape[1], width=pixels.shape[2], count=len(pixels), dtype=pixels.dtype, **options
    ) as tile:
        tile.write(pixels)


def write_picture(path: Path, colour: int | tuple[int, ...], side: int = 32, mode: str = "RGB") -> None:
    """Write a JPEG or PNG of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (side, side), colour).save(path, **({"quality": 100} if path.suffix == ".jpg" else {}))


def write_table(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


class Dataset:
    """A dataset on disk that a test then damages: patch i holds the number 100 * (i + 1) in every pixel."""

    def __init__(
        self,
        root: Path,
        labels: list[int],
        bands: tuple[str, ...] = ("B02", "B08"),
        classes: Sequence[str] = constants.CLASSES,
        patch_size: int = constants.PATCH_SIZE,
    ):
        self.root, self.labels, self.bands = root, labels, bands
        # Four acquisitions, one after the other; within one the patches stand side by side in a row.
        self.ids = [f"S2A_MSIL2A_2017061{i % 4}T101031_{i // 4}_7" for i in range(len(labels))]
        # 1.2 km apart within an acquisition, at 50 N, and 71 km from one to the next.
        self.meta = [
            {"patch_id": patch_id, "lon": round(10 + i % 4 + i // 4 * 0.0168, 4), "lat": 50}
            for i, patch_id in enumerate(self.ids)
        ]
        self.cover = [
            {"patch_id": patch_id} | {name: 0.75 * (k == label) for k, name in enumerate(classes)}
            for patch_id, label in zip(self.ids, labels, strict=True)
        ]
        self.write_tables()
        for i, patch_id in enumerate(self.ids):
            for band in bands:
                side = patch_size * 10 // constants.BANDS[band]
                write_tile(self.tile(patch_id, band), np.full((side, side), 100 * (i + 1), np.uint16))

    def tile(self, patch_id: str, band: str) -> Path:
        return self.root / "sentinel-2" / patch_id / f"{patch_id}_{band}.tif"

    def add_modalities(self) -> None:
        """Add the other inputs; patch i has VV = -10 - i dB, an elevation of 100 i metres and the climate zone i."""
        for i, row in enumerate(self.meta):
            day = f"2017061{i % 4 + 2}"  # two days after the Sentinel-2 image
            column_row = "_".join(row["patch_id"].split("_")[-2:])
            row |= {"patch_id_s1": f"S1A_IW_GRDH_1SDV_{day}T050000_33UUP_{column_row}"}
            row |= {"season_s2": 0.25, "climatezone": i % 31}
            for band, value in (("VV", -10 - i), ("VH", -20)):
                write_tile(self.radar_tile(i, band), np.full((120, 120), value, np.float32))
            write_tile(self.elevation_tile(i), np.full((120, 120), 100 * i, np.int16))
        self.write_tables()
        weather = {"temperature_s2": 260, "relhumidity_s2": 60, "wind-u_s2": 0, "wind-v_s2": -12}
        self.weather = [{"patch_id": name, "atmpressure_level": 1000} | weather for name in self.ids]
        write_table(self.root / f"{self.root.name}_era-5.csv", self.weather)

    def radar_tile(self, i: int, band: str) -> Path:
        patch_id = self.meta[i]["patch_id_s1"]
        return self.root / "sentinel-1" / patch_id / f"{patch_id}_{band}.tif"

    def elevation_tile(self, i: int) -> Path:
        return self.root / "dem" / f"{self.ids[i]}_dem.tif"

    def patches(self, channels: Sequence[str] = (), features: Sequence[str] = (), **facts) -> Patches:
        return ben_ge.read_patches(self.root, channels, features, entry(**facts))

    def read(self, *channels: str, i: int = 0, resampling: str = "bilinear", size: int = 120) -> PatchPixels:
        """The pixels of patch i."""
        patches = self.patches(channels)
        files = [self.root / patches.table[name][i] for name in channels]
        with gdal():
            return read_patch(files, patches.channels, size, resampling)

    def write_tables(self) -> None:
        write_table(self.root / f"{self.root.name}_meta.csv", self.meta)
        write_table(self.root / f"{self.root.name}_esaworldcover.csv", self.cover)


def merged(params: dict, changes: dict) -> dict:
    """Parameters with the sections of `changes` laid over them, and one thread, since tests run side by side."""
    found = params | {"runtime": params["runtime"] | {"threads": 1}}
    for key, value in changes.items():
        found[key] = found[key] | value if isinstance(value, dict) else value
    return found


class ArrayScene(NamedTuple):
    """A scene that is held in memory, and notes which rows were read."""

    pixels: np.ndarray  # reflectances, float32 (C, height, width)
    bands: list[str]
    name: str = "tiny"
    crs: str = "EPSG:32633"
    transform: tuple[float, ...] = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)
    facts: dict = {"offset": 0}  # noqa: RUF012 (nobody writes to it)
    block_rows: int = 1
    rows_read: list[int] | None = None

    @property
    def height(self) -> int:
        return self.pixels.shape[1]

    @property
    def width(self) -> int:
        return self.pixels.shape[2]

    def read(self, row: int, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        if self.rows_read is not None:
            self.rows_read.extend(range(row, row + rows))
        numbers = (self.pixels[:, row : row + rows] * 10_000).round()
        out = np.empty(numbers.shape, np.uint16) if out is None else out
        out[:] = numbers
        return out


def architecture(name: str = "cnn", standardize: str = "none", symmetries: bool = False, **changes):
    """A network's parameters: those in params.yaml, with some of its family changed."""
    from landcover.models.registry import Architecture

    family = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["model"][name] | changes
    return Architecture.model_validate(
        {"name": name, "standardize": standardize, "symmetries": symmetries, name: family}
    )


def brighter_band(patch_size: int, contrast: float = 10):
    """A network and its metadata: the logits of tree_cover and cropland are `contrast` x the means of B02 and B08."""
    import torch  # here, since most tests do without

    from landcover.models.metadata import Inputs, Metadata
    from landcover.models.registry import build

    means = architecture(convolutions=[2], kernel=1, stride=1, pool=1, global_pooling=True, linear=[])
    inputs = Inputs(("B02", "B08"), ("tree_cover", "cropland"), patch_size)
    network = build(means, inputs)
    weights = {"features.0.weight": torch.eye(2)[:, :, None, None], "classifier.1.weight": contrast * torch.eye(2)}
    network.load_state_dict(weights | {"features.0.bias": torch.zeros(2), "classifier.1.bias": torch.zeros(2)})
    return network.eval(), Metadata(architecture=means, inputs=inputs, parameters=12, epochs=1)
