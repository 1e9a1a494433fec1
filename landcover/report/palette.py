"""The colours of classes."""

from collections.abc import Mapping, Sequence

# From ESA's WorldCover legend.
WORLDCOVER = {
    "tree_cover": "#006400",
    "shrubland": "#ffbb22",
    "grassland": "#ffff4c",
    "cropland": "#f096ff",
    "built-up": "#fa0000",
    "bare/sparse_vegetation": "#b4b4b4",
    "snow_and_ice": "#f0f0f0",
    "permanent_water_bodies": "#0064c8",
    "herbaceous_wetland": "#0096a0",
    "mangroves": "#00cf75",
    "moss_and_lichen": "#fae6a0",
}
# Our own for EuroSAT's classes: water is blue, and what grows is green or brown.
EUROSAT = {
    "AnnualCrop": "#f0d264",
    "Forest": "#1b5e20",
    "HerbaceousVegetation": "#a8c66c",
    "Highway": "#7a7a7a",
    "Industrial": "#8e44ad",
    "Pasture": "#5fb233",
    "PermanentCrop": "#c77f2f",
    "Residential": "#d7301f",
    "River": "#4aa8d8",
    "SeaLake": "#0b4f9c",
}
# For a dataset's own classes: Paul Tol's muted scheme, which is safe for colour-blind readers, then lighter and darker
# colours between these.
OWN = (
    "#88ccee", "#cc6677", "#ddcc77", "#117733", "#332288", "#aa4499", "#44aa99", "#999933", "#882255",
    "#f5793a", "#0b5ed7", "#a6e05a", "#7f3b08", "#f7b6d2", "#595959", "#00e0c6", "#8c6bd6", "#c9c9a8", "#e31a1c",
    "#00441b", "#ffd700", "#b87333", "#5b7fa6", "#d8c4f0",
)  # fmt: skip


def class_colours(classes: Sequence[str], chosen: Mapping[str, str] | None = None) -> dict[str, str]:
    """A colour for each class, '#rrggbb': the chosen, else WorldCover's or EuroSAT's, else a free one from OWN.

    Args:
        chosen: colours by class, as `colours` in the dataset's entry has them.
    """
    chosen = chosen or {}
    free = [colour for colour in OWN if colour not in chosen.values()] or OWN
    return {name: free[i % len(free)] for i, name in enumerate(classes)} | {
        name: colour for name, colour in {**WORLDCOVER, **EUROSAT, **chosen}.items() if name in classes
    }
