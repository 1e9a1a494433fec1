"""What the tables say about a patch besides its label: its radar image, climate zone, season and weather."""

from pathlib import Path

import numpy as np
import pandas as pd

from landcover.constants import DATE, RADAR_BANDS, RADAR_ID
from landcover.data.tables import read_table
from landcover.modalities import CONTEXT, QUANTITIES, modality

# The columns of the weather table, <name>_era-5.csv, at the time of the Sentinel-2 image; by context feature.
WEATHER = {
    "temperature": "temperature_s2",
    "relative_humidity": "relhumidity_s2",
    "wind_u": "wind-u_s2",
    "wind_v": "wind-v_s2",
    "pressure": "atmpressure_level",
}
COLUMNS = {"climate_zone": "climatezone", "season": "season_s2"}  # of the meta table


def weather_table(root: Path) -> Path:
    return root / f"{root.name}_era-5.csv"


def _days_apart(table: pd.DataFrame) -> pd.Series:
    """Days from the Sentinel-2 image to the radar image, by the dates in the ids; NaN where an id has no date."""
    light, radar = (
        pd.to_datetime(table[name].str.extract(DATE, expand=False), format="%Y%m%d", errors="coerce")
        for name in ("patch_id", "patch_id_s1")
    )
    return (radar - light).dt.days


def join(table: pd.DataFrame, root: Path, channels: list[str], features: list[str]) -> pd.DataFrame:
    """Add what the channels and features need to the table of patches, by patch_id.

    Args:
        table: columns `patch_id` and `problem`, as returned by `read_tables`.
        root: the dataset's folder.
        channels: image channels.
        features: context features.

    Returns:
        The table, with a column for each feature, in physical units, and for radar, `patch_id_s1` and `days_apart`
        (from the Sentinel-2 image to the radar image). `problem` also says what is missing or implausible.

    Raises:
        InputError: a table is missing or lacks a column.
    """
    radar = bool(set(channels) & set(RADAR_BANDS))
    if not (radar or features):
        return table
    table, ids = table.copy(), table["patch_id"]
    needed = [column for name, column in COLUMNS.items() if set(CONTEXT[name]) & set(features)]
    meta = read_table(root / f"{root.name}_meta.csv", needed, texts=["patch_id_s1"]).loc[ids].reset_index(drop=True)
    meta.index = table.index

    def complain(sound: pd.Series, why: str) -> None:
        table.loc[~sound & (table["problem"] == ""), "problem"] = why

    if radar:
        table["patch_id_s1"] = meta["patch_id_s1"]
        table["days_apart"] = _days_apart(table)
        complain(table["patch_id_s1"].str.fullmatch(RADAR_ID), "its patch_id_s1 in the meta table is not a patch id")
    if zones := [name for name in features if modality(name) == "climate_zone"]:
        known = meta["climatezone"].isin(range(len(zones) + 1))
        complain(known, f"its climatezone in the meta table is not one of 0 to {len(zones)}")
        hot = np.eye(len(zones) + 1)[meta["climatezone"].where(known, 0).astype(int)]  # zone 0 has no feature
        table[zones] = hot[:, 1:]
    if "season" in features:
        table["season"] = meta["season_s2"]
        complain(table["season"].between(0, 1), "its season_s2 in the meta table is not from 0 to 1")
    if set(features) & set(CONTEXT["weather"]):
        weather = read_table(weather_table(root), list(WEATHER.values())).reindex(ids)
        for name, column in WEATHER.items():
            unit, low, high = QUANTITIES[name]
            table[name] = weather[column].to_numpy()
            complain(
                table[name].between(low, high), f"its {column} in the weather table is not {low:g} to {high:g} {unit}"
            )
    return table


def scaled(table: pd.DataFrame, features: list[str]) -> np.ndarray:
    """The context features of patches as the network reads them, float32 (N, F), 0 to 1."""
    columns = [
        QUANTITIES[name].scaled(table[name]) if name in QUANTITIES else table[name].to_numpy(np.float32)
        for name in features
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(table), 0), np.float32)
