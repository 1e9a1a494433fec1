"""A map in figures: shares and areas of the classes, and how far it can be trusted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from landcover.evaluation.applicability import Applicability
from landcover.mapping.maps import NOTHING, Map
from landcover.mapping.predictor import Predictor
from landcover.mapping.rasters import codes
from landcover.mapping.scenes import Area


@dataclass(frozen=True)
class Unlike:
    """How many cells with data are unlike the train patches."""

    share: float  # beyond the threshold
    threshold: float  # of the index
    share_of_val: float  # of the val patches, beyond it


@dataclass(frozen=True)
class Summary:
    """A map in figures; all shares but `nodata_share` are of the cells with data."""

    # Class, its code in classes.tif, share and km2. These are of the cells of the class; of a model of shares, sums of
    # shares, with `counted_share`, that of the cells, and `bias_on_test`, the mean error of the share in test patches.
    classes: list[dict[str, Any]]
    nodata_share: float
    mean_confidence: float | None  # None if no cell has data
    threshold: float  # the confidence below which a cell is uncertain
    uncertain_share: float
    unlike_train: Unlike | None  # None if the train patches are not known

    @classmethod
    def of(
        cls,
        land_cover: Map,
        classes: list[str],
        threshold: float,
        share_bias: Mapping[str, float] | None = None,
        applicability: Applicability | None = None,
    ) -> "Summary":
        """Sum up a map.

        Args:
            share_bias: by class, if the map's probabilities are shares; None if they are not.
            applicability: of the model, if it is known.
        """
        has_data = land_cover.labels != NOTHING
        count = max(int(has_data.sum()), 1)
        confidence = land_cover.confidence[has_data]
        counts = np.bincount(land_cover.labels[has_data], minlength=len(classes)).tolist()
        square_km = abs(land_cover.transform.determinant) / 1e6
        sums = counts
        if share_bias is not None:
            sums = land_cover.probabilities[:, has_data].sum(1, dtype=np.float64).tolist()
        rows = [
            {"class": name, "code": code, "share": cells / count, "km2": cells * square_km}
            for name, code, cells in zip(classes, codes(classes), sums, strict=True)
        ]
        if share_bias is not None:
            for row, cells in zip(rows, counts, strict=True):
                row |= {"counted_share": cells / count, "bias_on_test": share_bias.get(row["class"])}
        unlike = None
        if applicability:
            beyond = int((land_cover.unlike > applicability.threshold).sum())
            unlike = Unlike(beyond / count, applicability.threshold, applicability.share_of_val)
        return cls(
            classes=rows,
            nodata_share=1 - len(confidence) / land_cover.labels.size,
            mean_confidence=float(confidence.mean(dtype=np.float64)) if len(confidence) else None,
            threshold=threshold,
            uncertain_share=int((confidence < threshold).sum()) / count,
            unlike_train=unlike,
        )

    def to_json(self, land_cover: Map, area: Area, predictor: Predictor) -> dict[str, Any]:
        """As in summary.json, with what was mapped, and by which model."""
        windows = land_cover.windows
        return {
            "model": predictor.facts(),
            "scene": area.facts(),
            "map": {
                "rows": windows.rows, "columns": windows.columns, "transform": list(land_cover.transform)[:6],
                "window": windows.size, "step": windows.step,
                "covers": land_cover.labels.size * windows.step**2 / (area.width * area.height),
            },
            **asdict(self),
        }  # fmt: skip
