"""The schema of params.yaml: each parameter has a type and a range.

Every stage checks the whole file before it does any work, so that an error in the parameters of the last stage is
reported before the first one runs. The module imports nothing heavy, because every stage imports it.
"""

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

from landcover import constants
from landcover.errors import InputError
from landcover.modalities import SENTINEL_2, Inputs
from landcover.models.registry import Architecture
from landcover.schema import Count, Positive, Section, Seed, Share

PARAMS = Path("params.yaml")
# Of a dataset. It also is part of the names of experiments, which Git must accept; it refuses those that end in .lock.
NAME = re.compile(r"[\w-]+(\.[\w-]+)*(?<!\.lock)")


class Order(Section):
    """The first rows of the meta table for train, the next for val, the next for test; the rest is not used."""

    method: Literal["order"]
    train: Count
    val: Count
    test: Count


class Files(Section):
    """The dataset's own lists: splits/<name>_train.csv and so on, one patch id per line, no header."""

    method: Literal["files"]


class Place(Section):
    """Whole blocks of ground, drawn regardless of dates, with a buffer between the splits.

    So no test patch lies near a train patch. Ids and dates are not used, because they do not identify places.
    """

    method: Literal["place"]
    groups: Literal["block", "tile"] = "block"
    block_km: Annotated[float, pydantic.Field(gt=0, le=2000)] = 50
    buffer_km: Annotated[float, pydantic.Field(ge=0, le=500)] = 3
    every_class: bool = False
    val: Share
    test: Share
    seed: Seed

    @pydantic.model_validator(mode="after")
    def _leaves_train(self):
        if self.val + self.test >= 1:
            raise ValueError("val + test must be below 1, so that some patches are left for training")
        return self


Split = Order | Files | Place
METHODS = {"order": Order, "files": Files, "place": Place}


def _offset(value: Any) -> int | str:
    if value == "auto":
        return value
    try:
        number = int(value) if not isinstance(value, float) else -1
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number <= constants.MAX_OFFSET:
        raise ValueError(f"choose auto, or a whole number from 0 to {constants.MAX_OFFSET}")
    return number


# Subtracted from digital numbers; `auto`: for each patch, from tags, ids or the meta table, else 0.
Offset = Annotated[int | Literal["auto"], pydantic.PlainValidator(_offset)]

# Names that pandas would not read back from a table as text.
NO_NAMES = {"na", "n/a", "nan", "null", "none", "true", "false", "inf", "infinity", "patch_id"}


def _class_name(name: str) -> str:
    if not re.fullmatch(r"[^\W\d_][\w /.,()&+-]{0,99}", name) or name.casefold() in NO_NAMES:
        raise ValueError("start with a letter, then use letters, digits, spaces or any of _ / . , ( ) & + -")
    return name


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("list each class once")
    return names


Classes = Annotated[
    list[Annotated[str, pydantic.AfterValidator(_class_name)]],
    pydantic.Field(min_length=2, max_length=1000),
    pydantic.AfterValidator(_distinct),
]


# The synthetic sources that this project generates.
SAMPLES = ("sample", "sample-spectral")
# A user and a password, even in a URL that is invalid because it lacks escapes: everything before the last @.
CREDENTIALS = re.compile(r"[a-z][\w+.-]*:/+(?:[^/?#]*@|[^/?#:]*:(?!\d*(?:[/?#]|$)).*@)", re.IGNORECASE)
# Zenodo's own links end in download=1. Any other query could be a key; $NAME stands for one in the environment.
QUERY = re.compile(r"https?://[^?]*\?(?!\$[A-Za-z_]\w*$|download=1$)", re.IGNORECASE)


def _no_secret(source: str) -> str:
    if CREDENTIALS.match(source):
        raise ValueError("contains a user or a password, which dvc.lock would store; put them in ~/.netrc")
    if QUERY.match(source):
        raise ValueError(
            "has a query, which dvc.lock would store; remove it, or put it in an environment variable, "
            "for example QUERY, and end the URL with ?$QUERY"
        )
    return source


class Dataset(Section):
    """The source of an archive, how its patches are split, and facts about them."""

    source: Annotated[str, pydantic.Field(min_length=1), pydantic.AfterValidator(_no_secret)]
    md5: Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-fA-F]{32}$", to_lower=True)] | None = None
    split: Split
    # Files in data/lists/ that name patches to leave out, as BigEarthNet's lists of clouds, shadows and snow do.
    exclude: list[Annotated[str, pydantic.StringConstraints(pattern=r"^[\w.-]+$")]] = []
    # Side in pixels at 10 m; above 16, the largest distance at which the texture baseline compares pixels.
    patch_size: Annotated[int, pydantic.Field(gt=16, le=2048)] = constants.PATCH_SIZE
    classes: Classes = list(constants.CLASSES)  # columns of the label table
    offset: Offset | None = None  # overrides preprocess.offset, because the offset is a fact of the data

    @property
    def synthetic(self) -> bool:
        """Whether this project writes the data itself."""
        return self.source in SAMPLES


class Unpacking(Section):
    """How tiles are stored, and limits on archives, so that a crafted one cannot fill the disk or run forever."""

    layout: Literal["files", "bundles"]
    max_members: Count
    max_gigabytes: Positive


class Preprocessing(Section):
    offset: Offset
    resampling: Literal["nearest", "bilinear", "cubic"]
    max_bad_patches: Annotated[int, pydantic.Field(ge=0)]


class Baseline(Section):
    percentiles: list[Annotated[float, pydantic.Field(ge=0, le=100)]]
    inverse_regularization: Annotated[list[Positive], pydantic.Field(min_length=1)]


class Training(Section):
    seed: Seed
    epochs: Count
    batch_size: Count
    eval_batch_size: Count
    optimizer: Literal["adam", "adamw", "sgd"]
    learning_rate: Positive
    weight_decay: Annotated[float, pydantic.Field(ge=0)]
    schedule: Literal["constant", "cosine", "one_cycle"]
    label_smoothing: Annotated[float, pydantic.Field(ge=0, lt=1)]
    class_weights: Literal["none", "balanced"]
    shuffle: bool
    flips: bool
    quarter_turns: bool
    patience: Count | None
    keep: Literal["last", "best"]
    precision: Literal["float32", "bfloat16"]
    modality_dropout: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.0


class Repetition(Section):
    seeds: list[Seed]

    @pydantic.field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("list each seed once")
        return seeds


class Evaluation(Section):
    """The metric that decides a comparison, and the random draws where no formula exists."""

    verdict: Literal["accuracy", "macro_f1", "nll"] = "accuracy"
    resamples: Annotated[int, pydantic.Field(ge=100, le=100_000)]
    seed: Annotated[int, pydantic.Field(ge=0)]


def _device_name(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("choose auto, cpu, cuda, cuda:<number> or mps")
    return name


def _scheduler_address(address: str) -> str:
    if not re.fullmatch(r"(tcp|tls|ucx)://\S+:\d+", address):
        raise ValueError("give the scheduler's address, as tcp://<host>:<port>, or null")
    return address


class Runtime(Section):
    """How to compute. `device`, `threads`, `instruction_set` and `launcher` affect the bytes; DVC tracks them."""

    device: Annotated[str, pydantic.AfterValidator(_device_name)]
    threads: Annotated[int, pydantic.Field(ge=1, le=1024)]
    instruction_set: Literal["avx2", "native"]
    launcher: Annotated[str, pydantic.Field(min_length=1)]  # the start of train's command in dvc.yaml
    workers: Annotated[int, pydantic.Field(ge=1, le=1024)]
    dask: Annotated[str, pydantic.AfterValidator(_scheduler_address)] | None
    resident_gigabytes: Annotated[float, pydantic.Field(ge=0)]


SECTIONS: dict[str, Any] = {
    "dataset": str,
    "datasets": dict[str, Any],  # each entry is a Dataset
    "inputs": Inputs,
    "bands": constants.Bands,
    "unpack": Unpacking,
    "preprocess": Preprocessing,
    "baseline": Baseline,
    "model": Architecture,
    "train": Training,
    "repeat": Repetition,
    "evaluate": Evaluation,
    "runtime": Runtime,
}


def _no_such(key: str, name: str, names: list[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(names)}"
    return f"{key}: no such parameter; {hint}"


def _describe(error: dict, names: list[str]) -> str:
    """One pydantic error as 'key = value: what is accepted'."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        return _no_such(key, location[-1], names)
    if error["type"] == "missing":
        return f"{key}: is missing; add it"
    message = error["msg"].removeprefix("Value error, ")
    message = f"{message[0].lower()}{message[1:]}"
    # Sections as a whole are not printed, nor are values that may be secret.
    silent = isinstance(error["input"], dict) or (location[-1] == "source" and error["input"])
    return f"{key}: {message}" if silent else f"{key} = {error['input']!r}: {message}"


def _problems(name: str, schema: Any, value: Any) -> tuple[Any, list[str]]:
    try:
        return pydantic.TypeAdapter(dict[str, schema]).validate_python({name: value})[name], []
    except pydantic.ValidationError as invalid:
        names = list(schema.model_fields) if hasattr(schema, "model_fields") else []
        return None, [_describe(error, names) for error in invalid.errors()]


def validate(name: str, schema: Any, value: Any) -> Any:
    """Check one entry of params.yaml against its type.

    Raises:
        InputError: names each wrong key, its value and what is accepted.
    """
    found, problems = _problems(name, schema, value)
    if problems:
        raise InputError(f"{PARAMS}: {'; '.join(problems)}")
    return found


def _dataset(name: str, value: Any) -> tuple[Dataset | None, list[str]]:
    # The split is checked separately, so that errors refer to the chosen method, not to all three.
    problems = []
    if isinstance(value, dict) and "split" in value:
        method = value["split"].get("method") if isinstance(value["split"], dict) else None
        if method == "tile":
            remedy = "{method: place, block_km: 50, buffer_km: 3, val: 0.2, test: 0.2, seed: 42}"
            told = f"{name}.split.method = 'tile': was removed, as ids do not identify tiles; split by place: {remedy}"
            return None, [told]
        if method not in METHODS:
            return None, [f"{name}.split.method = {method!r}: choose from {', '.join(METHODS)}"]
        split, problems = _problems(f"{name}.split", METHODS[method], value["split"])
        value = value | {"split": split or Files(method="files")}
    found, more = _problems(name, Dataset, value)
    return found, more + problems


def check(raw: dict[str, Any]) -> dict[str, Any]:
    """All sections of params.yaml, typed by their schemas.

    Raises:
        InputError: names each wrong key, its value and what is accepted.
    """
    found, problems = {}, [_no_such(key, key, list(SECTIONS)) for key in raw if key not in SECTIONS]
    for name, schema in SECTIONS.items():
        if name not in raw:
            problems.append(f"{name}: is missing; add it")
            continue
        found[name], wrong = _problems(name, schema, raw[name])
        problems += wrong
    for name in found.get("datasets") or {}:
        if not NAME.fullmatch(name):
            plain = re.sub(r"[^\w-]+", "-", name)
            problems.append(
                f"datasets: {name!r} is not a name of letters, digits, -, _ and single dots that does not end in "
                f".lock; call it {plain}"
            )
        found["datasets"][name], wrong = _dataset(f"datasets.{name}", raw["datasets"][name])
        problems += wrong
    if found.get("dataset") and found.get("datasets") and found["dataset"] not in found["datasets"]:
        choice = ", ".join(found["datasets"])
        problems.append(f"dataset = {found['dataset']!r}: no such entry in datasets; choose from {choice}")
    chosen = (found.get("datasets") or {}).get(found.get("dataset"))
    problems += _misfits(found, chosen.patch_size if isinstance(chosen, Dataset) else constants.PATCH_SIZE)
    if problems:
        raise InputError(f"{PARAMS}: {'; '.join(problems)}")
    return found


def _misfits(found: dict[str, Any], patch_size: int) -> Iterator[str]:
    """Parameters that do not fit the patch size of the chosen dataset."""
    if found.get("model"):
        try:
            found["model"].parameters.check_patch_size(patch_size)
        except ValueError as error:
            yield f"model: {error}"
    metres = patch_size * constants.METRES_PER_PIXEL
    bands = found.get("bands") if SENTINEL_2 in (found.get("inputs") or []) else None
    if coarse := [band for band in bands or [] if metres % constants.BANDS[band]]:
        yield (
            f"bands: patches of {metres} m (patch_size = {patch_size}) do not hold a whole number of pixels of "
            f"{', '.join(coarse)}; leave it out"
        )


def load(path: Path = PARAMS) -> dict[str, Any]:
    """Read params.yaml as a mapping from section to its raw values.

    Raises:
        InputError: there is no such file, or it has no sections.
    """
    try:
        params = yaml.safe_load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run from the root of the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML; {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise InputError(f"{path}: contains no sections; restore it with git checkout {path}")
    return params


def instruction_set(path: Path = PARAMS) -> str:
    """`runtime.instruction_set`, for a command that checks no parameters: `avx2` unless it is `native`."""
    runtime = load(path).get("runtime") if path.is_file() else None
    return "native" if isinstance(runtime, dict) and runtime.get("instruction_set") == "native" else "avx2"
