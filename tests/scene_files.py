"""Scenes on disk, as their providers lay them out, with numbers that one can work out by hand."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio import Affine

TOP, LEFT = 5_000_040, 499_980  # as Sentinel-2's tiles lie: off the whole hundred
BANDS = ("B02", "B03", "B04", "B08")
PRODUCT = "S2B_MSIL2A_20230613T101031_N0509_R022_T33UUP_20230613T121212"


def land(side: int = 240, count: int = 4, seed: int = 0) -> np.ndarray:
    """Numbers (count, side, side) that land may have, so that nothing about them is suspect."""
    return np.random.default_rng(seed).integers(1, 4000, (count, side, side), dtype=np.uint16)


def write(path: Path, numbers: np.ndarray, names: tuple[str, ...] = BANDS, **profile: Any) -> Path:
    """Write numbers (C, H, W), or (H, W), as a GeoTIFF or a lossless JPEG 2000, with descriptions."""
    numbers = numbers.reshape(-1, *numbers.shape[-2:])
    metres = profile.pop("metres", 10)
    tags = {key: profile.pop(key) for key in ("scales", "offsets") if key in profile}
    jp2 = {"driver": "JP2OpenJPEG", "QUALITY": "100", "REVERSIBLE": "YES"} if path.suffix == ".jp2" else {}
    options = {"driver": "GTiff", "crs": "EPSG:32633", "transform": Affine(metres, 0, LEFT, 0, -metres, TOP)}
    count, height, width = numbers.shape
    options |= jp2 | {"dtype": numbers.dtype, "count": count, "height": height, "width": width} | profile
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **options) as raster:
        raster.write(numbers)
        if not jp2 and len(names) == count:
            raster.descriptions = names
        for key, value in tags.items():
            setattr(raster, key, (value,) * count)
    return path


def metadata(
    level: str = "L2A", baseline: str = "05.09", offset: int | None = -1000, divisor: int | str = 10_000
) -> str:
    """A product's own description, as far as it matters."""
    kind, prefix = ("BOA", "BOA_") if level == "L2A" else ("RADIO", "")
    tag = f"{kind}_ADD_OFFSET"
    offsets = [f'<{tag} band_id="{i}">{offset}</{tag}>' for i in range(13) if offset is not None]
    return (
        f'<?xml version="1.0"?><n1:Level_User_Product xmlns:n1="https://example.org/{level}.xsd"><n1:General_Info>'
        f"<PRODUCT_START_TIME>2023-06-13T10:10:31.024Z</PRODUCT_START_TIME>"
        f"<PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>"
        f"<{prefix}QUANTIFICATION_VALUE>{divisor}</{prefix}QUANTIFICATION_VALUE>"
        f"<AOT_QUANTIFICATION_VALUE>1000.0</AOT_QUANTIFICATION_VALUE>{''.join(offsets)}"
        "</n1:General_Info></n1:Level_User_Product>"
    )  # fmt: skip


def write_safe(folder: Path, numbers: np.ndarray, about: str | None = None, name: str = PRODUCT) -> Path:
    """A Level-2A product of the four 10 m bands, whose 20 m files are there, too, and wrong."""
    root = folder / f"{name}.SAFE"
    images = root / "GRANULE" / "L2A_T33UUP_A032747_20230613T101031" / "IMG_DATA"
    for band, own in zip(BANDS, numbers, strict=True):
        write(images / "R10m" / f"T33UUP_20230613T101031_{band}_10m.jp2", own)
    write(images / "R20m" / "T33UUP_20230613T101031_B02_20m.jp2", np.full((8, 8), 9, np.uint16), metres=20)
    (root / "MTD_MSIL2A.xml").write_text(metadata() if about is None else about)
    (images.parent / "QI_DATA").mkdir()
    (images.parent / "QI_DATA" / "MSK_QUALIT_B02.jp2").write_bytes(b"")
    return root


def zipped(folder: Path) -> Path:
    """The folder as a zip beside it, in which it is the one folder."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def write_item(folder: Path, numbers: np.ndarray, asset: dict[str, Any] | None = None, **properties: Any) -> Path:
    """A STAC item with an asset a band, a picture of three of them, and JPEG 2000 beside the blue band."""
    assets: dict[str, Any] = {
        "visual": {"href": "tci.tif", "eo:bands": [{"common_name": name} for name in ("red", "green", "blue")]},
        "blue-jp2": {"href": "B02.jp2", "type": "image/jp2", "eo:bands": [{"common_name": "blue"}]},
        "scl": {"href": "SCL.tif"},
    }
    for name, band, own in zip(("blue", "green", "red", "nir"), BANDS, numbers, strict=True):
        write(folder / f"{band}.tif", own, ())
        assets[name] = {"href": f"./{band}.tif", "type": "image/tiff", "eo:bands": [{"common_name": name}]}
        assets[name] |= asset or {}
    path = folder / "item.json"
    about = {"datetime": "2023-06-13T10:10:31Z"} | properties
    item = {"type": "Feature", "id": "S2B_33UUP_20230613_0_L2A", "properties": about, "assets": assets}
    path.write_text(json.dumps(item))
    return path
