"""What labelled points say of a map, in figures: the content of report.json and comparison.json."""

from dataclasses import asdict
from typing import Any

import numpy as np

from landcover.assessment import estimators
from landcover.assessment.estimators import UNKNOWN, Sample, Share, accuracy, bounds, kappa, shares
from landcover.assessment.maps import ClassMap, transformed
from landcover.assessment.points import Design, Labels
from landcover.errors import InputError


def _mapped(class_map: ClassMap, design: Design) -> tuple[np.ndarray, list[str]]:
    """The map's class of each point, in the design's classes, and what is left out.

    Raises:
        InputError: the map has other classes, or none of the points.
    """
    if unknown := [name for name in class_map.classes if name not in design.classes]:
        raise InputError(
            f"{class_map.name}: has the class {unknown[0]}, which {design.map} lacks; give a map of its classes"
        )
    position = np.array([*map(design.classes.index, class_map.classes), UNKNOWN])  # UNKNOWN, -1, selects the last
    x, y = transformed(design.crs, class_map.crs, design.points["x"].to_numpy(), design.points["y"].to_numpy())
    labels, inside = class_map.at(x, y)
    mapped = position[labels]
    lost = {"outside the map": ~inside, "on its nodata": inside & (mapped == UNKNOWN)}
    told = [
        f"{where.sum()} of {len(mapped)} points are {what}, and left out" for what, where in lost.items() if where.any()
    ]
    if (mapped == UNKNOWN).all():
        raise InputError(f"{class_map.name}: {'; '.join(told)}; give a map of the same place as {design.map}")
    return mapped, told


def _labelled(design: Design, mapped: np.ndarray, reference: np.ndarray) -> tuple[Sample, np.ndarray, list[str]]:
    """The labelled points as a sample, which of all points they are, and which strata have none.

    Raises:
        InputError: none has a label.
    """
    strata = design.points["stratum"].to_numpy()
    kept = reference != UNKNOWN
    if not (kept & (mapped != UNKNOWN)).any():
        raise InputError("no point on the map has a class; label some, and save the layer")
    counts = np.bincount(strata[kept], minlength=len(design.sizes))
    present = counts > 0
    told = [
        f"no point of the stratum {name} has a label, so its {size / design.sizes.sum():.1%} of the area are left out"
        for name, size, here in zip(design.strata, design.sizes, present, strict=True)
        if not here
    ]
    number = np.cumsum(present) - 1
    return Sample(design.sizes[present], number[strata[kept]], mapped[kept], reference[kept]), kept, told


def _share(one: Share, most: tuple[float, float] | None = None) -> dict[str, float | None]:
    found = {"estimate": one.value, "standard_error": one.error, "low": one.low, "high": one.high}
    if most:
        found |= {"least": most[0], "most": most[1]}
    return {name: None if np.isnan(value) else value for name, value in found.items()}


def _about(class_map: ClassMap, design: Design) -> dict[str, Any]:
    return {
        "map": class_map.name, "sha256": class_map.sha256, "unit": design.unit, "metres": design.metres,
        "square_km": design.square_km, "covered": design.covered, "strata_of": design.map,
        "own_strata": class_map.sha256 == design.sha256, "points": len(design.points),
    }  # fmt: skip


def assess(class_map: ClassMap, design: Design, labels: Labels, other: Labels | None = None) -> dict[str, Any]:
    """The accuracy of a map, and the area of each class, as in report.json.

    Args:
        labels: which decide.
        other: those of a second interpreter.

    Raises:
        InputError: the map is of another place or of other classes, or nothing is labelled.
    """
    mapped, told = _mapped(class_map, design)
    sample, kept, lost = _labelled(design, mapped, labels.first)
    count = len(design.classes)
    found = accuracy(sample, count)
    everything = Sample(design.sizes, design.points["stratum"].to_numpy(), mapped, labels.first)
    known, missing = (mapped != UNKNOWN)[:, None], ~kept
    right = (mapped == labels.first)[:, None] & kept[:, None]
    is_class = labels.first[:, None] == np.arange(count)
    of_classes = bounds(everything, is_class, np.broadcast_to(known, is_class.shape), missing)
    either = ((mapped == labels.first) | (mapped == labels.second))[kept, None] & known[kept]
    domain = float(shares(everything, known, np.ones_like(known))[0].value)  # of the population, what the map covers
    square_km = domain * design.square_km
    cells = np.bincount(class_map.labels[class_map.labels >= 0], minlength=len(class_map.classes))
    on_map = dict(zip(class_map.classes, cells / cells.sum(), strict=True))
    content = _about(class_map, design) | {
        "labelled": int(kept.sum()),
        "interpreters": labels.interpreters,
        "confidence": {word: labels.confidence.count(word) for word in sorted(set(labels.confidence) - {""})},
        "left_out": [*labels.told, *told, *lost],
        "assessed_square_km": square_km,
        "overall": _share(found.overall, bounds(everything, right, known, missing)[0]),
        "overall_with_second_class": _share(shares(sample, either, known[kept])[0]),
        "matrix": found.matrix.tolist(),
        "counts": found.counts.tolist(),
        "classes": [
            {
                "class": name,
                "mapped_share": float(on_map.get(name, 0)),
                "share": _share(area, most),
                "square_km": {
                    "estimate": area.value * square_km, "standard_error": area.error * square_km,
                    "low": area.low * square_km, "high": area.high * square_km,
                },
                "users_accuracy": _share(users),
                "producers_accuracy": _share(producers),
            }
            for name, area, most, users, producers in zip(
                design.classes, found.areas, of_classes, found.users, found.producers, strict=True
            )
        ],
        "strata": [
            {
                "class": name, "share": size / design.sizes.sum(), "points": int(own.sum()),
                "unlabelled": int((own & missing).sum()),
            }
            for k, (name, size) in enumerate(zip(design.strata, design.sizes, strict=True))
            for own in [everything.strata == k]
        ],
    }  # fmt: skip
    if other:
        content["agreement"] = _agreement(design, labels, other)
    return content


def _agreement(design: Design, labels: Labels, other: Labels) -> dict[str, Any]:
    both = (labels.first != UNKNOWN) & (other.first != UNKNOWN)
    facts: dict[str, Any] = {"files": [labels.name, other.name], "points": int(both.sum())}
    if not both.any():
        return facts
    one, two = labels.first[both], other.first[both]
    share, corrected = kappa(one, two)
    pairs, times = np.unique(np.sort(np.stack([one, two], 1)[one != two], 1), axis=0, return_counts=True)
    order = np.argsort(-times, kind="stable")
    differ = [
        {"classes": [design.classes[k] for k in pairs[i]], "points": int(times[i])} for i in order
    ]  # fmt: skip
    return facts | {"share": share, "kappa": None if np.isnan(corrected) else corrected, "differ": differ}


def compare(class_map: ClassMap, other: ClassMap, design: Design, labels: Labels, tolerance: float) -> dict[str, Any]:
    """Whether another map is more accurate on the same points, as in comparison.json.

    Raises:
        InputError: as in `assess`.
    """
    (mapped, told), (on_other, told_of_other) = (_mapped(one, design) for one in (class_map, other))
    told = [f"{one.name}: {line}" for one, lines in ((class_map, told), (other, told_of_other)) for line in lines]
    sample, kept, lost = _labelled(design, mapped, labels.first)
    if not ((mapped != UNKNOWN) & (on_other != UNKNOWN) & kept).any():
        raise InputError(f"{other.name}: shares no labelled point with {class_map.name}; give maps of the same place")
    verdict = estimators.difference(sample, on_other[kept], tolerance)
    return _about(class_map, design) | {
        "other": other.name, "other_sha256": other.sha256, "labelled": int(kept.sum()),
        "left_out": [*labels.told, *told, *lost], "verdict": asdict(verdict),
    }  # fmt: skip
