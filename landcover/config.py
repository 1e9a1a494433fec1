"""The schema of params.yaml: each parameter has a type and a range.

Every stage checks the whole file before it does any work, so that an error in the parameters of the last stage is
reported before the first one runs. The module imports nothing heavy, because every stage imports it.
"""

import re
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import pydantic
import yaml
from pydantic_core import ErrorDetails

from landcover import constants
from landcover.errors import InputError
from landcover.modalities import OF_IMAGE, Inputs
from landcover.models.registry import Architecture
from landcover.schema import Count, Distinct, Positive, Section, Seed, Share

PARAMS = Path("params.yaml")
LEAST_FOLDS = 4
# How the files of a dataset are arranged: modules of landcover/data/layouts. If several could be meant, the first is.
LayoutName = Literal["ben-ge", "table", "folders"]


def _amount(value: Any) -> int | float:
    if isinstance(value, int) and value >= 1:
        return value
    try:
        share = float(value)
    except (TypeError, ValueError):
        share = 0.0
    if not 0 < share < 1:
        raise ValueError("give a number of patches from 1, or a share of them between 0 and 1")
    return share


# Of patches: an int is their number, a float their share.
Amount = Annotated[int | float, pydantic.PlainValidator(_amount)]


def _demand_parts_of_one_whole(**amounts: int | float) -> None:
    """Check that amounts are all numbers, or all shares that add up to 1.

    Raises:
        ValueError: they are not.
    """
    names, kinds = " + ".join(amounts), set(map(type, amounts.values()))
    if len(kinds) > 1:
        raise ValueError(f"{names.replace(' + ', ', ')}: give all as numbers of patches, or all as shares")
    total = sum(Fraction(str(amount)) for amount in amounts.values())
    if kinds == {float} and total != 1:
        raise ValueError(
            f"{names} = {float(total):g}: shares must add up to 1; correct them, or give numbers of patches"
        )


class Order(Section):
    """The first rows of the dataset for train, the next for val, the next for test; the rest is not used.

    As numbers of patches, or all three as shares of the rows.
    """

    method: Literal["order"]
    train: Amount
    val: Amount
    test: Amount

    @pydantic.model_validator(mode="after")
    def _fits(self):
        _demand_parts_of_one_whole(train=self.train, val=self.val, test=self.test)
        return self


class Random(Section):
    """Patches drawn within each class, wherever they lie, so neighbours can be in different splits.

    `val` and `test` are both numbers of patches, or both shares. All others are for training; `train` may limit their
    number.
    """

    method: Literal["random"]
    train: Amount | None = None
    val: Amount
    test: Amount
    seed: Seed

    @pydantic.model_validator(mode="after")
    def _fits(self):
        train = self.train
        if isinstance(self.val, float) and isinstance(self.test, float) and not isinstance(train, float):
            if self.val + self.test >= 1:
                raise ValueError("val + test must be below 1, so that some patches are left for training")
        else:
            _demand_parts_of_one_whole(**({"train": train} if train else {}), val=self.val, test=self.test)
        return self


class Files(Section):
    """The dataset's own split: its lists splits/<name>_train.csv and so on, or the column `split` of its table."""

    method: Literal["files"]


class Place(Section):
    """Whole blocks of ground, drawn regardless of dates, with a buffer between the splits.

    So no test patch lies near a train patch. Ids and dates are not used, because they do not identify places. With
    `train`, so many of the train patches are used, drawn within each class; val and test stay the same.
    """

    method: Literal["place"]
    groups: Literal["block", "tile"] = constants.GROUPS
    block_km: Annotated[float, pydantic.Field(gt=0, le=2000)] = constants.BLOCK_KM
    buffer_km: Annotated[float, pydantic.Field(ge=0, le=500)] = constants.BUFFER_KM
    every_class: bool = constants.EVERY_CLASS
    train: Count | None = None
    val: Share
    test: Share
    seed: Seed

    @pydantic.model_validator(mode="after")
    def _leaves_train(self):
        if self.val + self.test >= 1:
            raise ValueError("val + test must be below 1, so that some patches are left for training")
        return self


METHODS = ("order", "random", "place", "files")
Split = Annotated[Order | Random | Place | Files, pydantic.Field(discriminator="method")]


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
CLASS_NAME_RULE = (
    "start with a letter, then use letters, digits, spaces or any of _ / . , ( ) & + -; NA, none and other words that "
    "tables have for nothing are no names"
)


def is_class_name(name: str) -> bool:
    """Whether tables, pages and pictures can carry a class of this name."""
    return bool(re.fullmatch(r"[^\W\d_][\w /.,()&+-]{0,99}", name)) and name.casefold() not in NO_NAMES


def _class_name(name: str) -> str:
    if not is_class_name(name):
        raise ValueError(CLASS_NAME_RULE)
    return name


Classes = Annotated[
    list[Annotated[str, pydantic.AfterValidator(_class_name)]],
    pydantic.Field(min_length=2, max_length=1000),
    Distinct,
]


def _file_bands(value: Any) -> list[str] | dict[str, int] | None:
    if value is None:
        return None
    names = list(value) if isinstance(value, (list, dict)) else []
    if not names or not set(names) <= {*constants.BANDS} or len(set(names)) < len(names):
        raise ValueError(
            "list the bands in the order in which files hold them, each once, or give each its position, as in "
            f"{{B02: 1, B08: 4}}; names: {', '.join(constants.BANDS)}"
        )
    if isinstance(value, dict):
        positions = list(value.values())
        if not all(type(one) is int and one > 0 for one in positions) or len(set(positions)) < len(positions):
            raise ValueError("give each band a position of its own, counted from 1")
    return value


def _colour(colour: Any) -> str:
    # Without quotes, YAML takes #88ccee for a comment, and the value for nothing.
    if not isinstance(colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise ValueError('write a colour in quotes, as "#1b7837": two hexadecimal digits each of red, green and blue')
    return colour


Colour = Annotated[str, pydantic.BeforeValidator(_colour)]


def _public(source: str) -> str:
    """Refuse what must not be recorded in dvc.lock, and addresses that nothing can be fetched from."""
    if not re.match("[a-z][a-z0-9+.-]+:/", source, re.IGNORECASE):
        return source  # a path, or the name of a sample
    try:
        url = urlsplit(source)
        valid = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port)
    except ValueError:
        url, valid = urlsplit(""), False
    if "@" in url.netloc:
        raise ValueError("has a user or a password, which dvc.lock would record; put them in ~/.netrc")
    if not valid:
        raise ValueError(
            "is no valid http(s) URL; copy the address again, without a user or a password, or download the file and "
            "give its path"
        )
    if url.query not in ("", "download=1") and not re.fullmatch(r"\$[A-Za-z_]\w*", url.query):
        raise ValueError(
            "has a query, which dvc.lock would record; remove it, or put it in an environment variable, "
            "for example QUERY, and end the URL with ?$QUERY"
        )
    return source


def is_url(source: str) -> bool:
    return bool(re.match("https?://", source, re.IGNORECASE))


class Dataset(Section):
    """The source of an archive, how its patches are split, and facts about them.

    What is None is taken from the data.
    """

    source: Annotated[str, pydantic.Field(min_length=1), pydantic.AfterValidator(_public)]
    layout: LayoutName | None = None
    md5: Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-fA-F]{32}$", to_lower=True)] | None = None
    split: Split
    # Files in data/lists/ that name patches to leave out, as BigEarthNet's lists of clouds, shadows and snow do.
    exclude: list[Annotated[str, pydantic.StringConstraints(pattern=r"^[\w.-]+$")]] = pydantic.Field(
        default_factory=list
    )
    # Side in pixels; above 16, the largest distance at which the texture baseline compares pixels.
    patch_size: Annotated[int, pydantic.Field(ge=constants.LEAST_SIZE, le=constants.LARGEST_SIZE)] | None = None
    classes: Classes | None = None  # in the order of the labels
    colours: dict[str, Colour] = pydantic.Field(default_factory=dict)  # of classes in pictures and maps
    # Bands in the order in which files hold them, or positions by band, from 1; instead of the section `bands`.
    bands: Annotated[Any, pydantic.PlainValidator(_file_bands)] = None
    scale: Positive | None = None  # reflectance = (number - offset) x scale; None: by the type of the numbers
    offset: Offset | None = None  # overrides preprocess.offset, because the offset is a fact of the data
    level: Literal["1C", "2A"] | None = None  # of Sentinel-2: 1C is top of atmosphere, 2A surface
    positions: Annotated[str, pydantic.StringConstraints(pattern=r"^[\w.-]+$")] | None = None  # a table in data/lists/

    @property
    def synthetic(self) -> bool:
        """Whether this project writes the data itself."""
        return self.source in constants.SAMPLES


class Unpacking(Section):
    """Limits on archives, so that a crafted one cannot fill the disk or run forever."""

    max_members: Count
    max_gigabytes: Positive


class Preprocessing(Section):
    offset: Offset
    resampling: Literal["nearest", "bilinear", "cubic"]
    max_bad_patches: Annotated[int, pydantic.Field(ge=0)]


def _table_of_vectors(path: str) -> str:
    if not path.lower().endswith((".parquet", ".npz")):
        raise ValueError("give a .parquet or .npz of patch_id and vector, or null")
    return path


class Baseline(Section):
    percentiles: list[Annotated[float, pydantic.Field(ge=0, le=100)]]
    inverse_regularization: Annotated[list[Positive], pydantic.Field(min_length=1)]
    embeddings: Annotated[str, pydantic.AfterValidator(_table_of_vectors)] | None


def _epochs_or_all(value: Any) -> int | str:
    if value != "all" and not (isinstance(value, int) and value >= 0):
        raise ValueError("choose all, or a number of epochs from 0")
    return value


class Training(Section):
    target: Literal["majority", "shares"]
    seed: Seed
    patches: Count | None
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
    brightness: Annotated[float, pydantic.Field(ge=0, le=1)]
    mixup: Annotated[float, pydantic.Field(ge=0)]
    cutmix: Annotated[float, pydantic.Field(ge=0)]
    patience: Count | None
    keep: Literal["last", "best"]
    precision: Literal["float32", "bfloat16"]
    modality_dropout: Annotated[float, pydantic.Field(ge=0, lt=1)]
    init: Annotated[str, pydantic.Field(min_length=1), pydantic.AfterValidator(_public)] | None  # weights to start from
    init_sha256: Annotated[str, pydantic.StringConstraints(pattern=r"^[0-9a-fA-F]{64}$", to_lower=True)] | None
    init_bands: Annotated[list[Literal[OF_IMAGE]], Distinct]
    init_mean: list[float]
    init_std: list[Positive]
    init_batch_norm: Literal["keep", "estimate"]
    freeze: Annotated[int | Literal["all"], pydantic.PlainValidator(_epochs_or_all)]
    backbone_learning_rate: Positive | None

    @pydantic.model_validator(mode="after")
    def _init_is_whole(self) -> Self:
        if self.init and is_url(self.init) and not self.init_sha256:
            raise ValueError("init is a URL: give the file's sha256 in init_sha256, as its publisher states it")
        if (self.init_mean or self.init_std) and not (
            len(self.init_mean) == len(self.init_std) == len(self.init_bands)
        ):
            raise ValueError("init_mean and init_std: give one number for each band in init_bands")
        return self

    @pydantic.model_validator(mode="after")
    def _fits_the_target(self) -> Self:
        if self.target == "shares" and (self.class_weights != "none" or self.label_smoothing):
            raise ValueError(
                "target = 'shares' takes neither class_weights nor label_smoothing, which would change the shares; set "
                "class_weights to none and label_smoothing to 0"
            )
        return self

    def frozen(self, epoch: int) -> bool:
        """Whether only the head learns in an epoch, which counts from 1."""
        return self.freeze == "all" or epoch <= self.freeze


class Repetition(Section):
    """Further trainings: with other seeds, and in each of `folds` folds."""

    seeds: Annotated[list[Seed], Distinct]
    folds: Annotated[int, pydantic.Field(ge=0)]
    test: Literal["folds", "locked"]

    @pydantic.field_validator("folds")
    @classmethod
    def _enough(cls, folds: int) -> int:
        # Of three, one would be left to train on.
        if 0 < folds < LEAST_FOLDS:
            raise ValueError(f"choose 0 for none, or at least {LEAST_FOLDS}")
        return folds


class Evaluation(Section):
    """The metric that decides a comparison, and the random draws where no formula exists."""

    verdict: str = "accuracy"  # a metric's name, which landcover/evaluation/metrics.py checks
    tolerance: dict[str, Positive] = pydantic.Field(default_factory=dict)  # by metric; others have the list's
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


def _named(datasets: dict[str, Dataset]) -> dict[str, Dataset]:
    for name in datasets:
        if not re.fullmatch(r"[\w-]+", name):
            plain = re.sub(r"[^\w-]+", "-", name).strip("-")
            raise ValueError(f"{name!r} has other characters than letters, digits, - and _; call it {plain}")
    return datasets


class Params(Section):
    """The whole of params.yaml."""

    dataset: str
    datasets: Annotated[dict[str, Dataset], pydantic.AfterValidator(_named)]
    inputs: Inputs
    bands: constants.Bands
    unpack: Unpacking
    preprocess: Preprocessing
    baseline: Baseline
    model: Architecture
    train: Training
    repeat: Repetition
    evaluate: Evaluation
    runtime: Runtime

    @pydantic.model_validator(mode="after")
    def _fit_together(self):
        if self.dataset not in self.datasets:
            raise ValueError(
                f"dataset = {self.dataset!r}: no such entry in datasets; choose from {', '.join(self.datasets)}"
            )
        entry = self.datasets[self.dataset]
        if self.repeat.folds and self.repeat.test == "locked" and entry.split.method != "place":
            raise ValueError(
                f"repeat.test = 'locked': {self.dataset} is split by {entry.split.method}, so neighbours of its test "
                "patches would be trained on; split by place, or choose folds"
            )
        if self.train.init_mean and self.model.standardize != "moments":
            raise ValueError(
                f"train.init_mean: with model.standardize = {self.model.standardize}, the input would have another "
                "scaling than that of the weights; set model.standardize to moments"
            )
        patch_size = entry.patch_size or (constants.PATCH_SIZE if entry.layout == constants.LAYOUT else None)
        try:
            if patch_size:  # else from the files, and training checks it
                self.model.check_patch_size(patch_size)
        except ValueError as error:
            raise ValueError(f"model: {error}") from None
        return self


def _describe(error: ErrorDetails) -> str:
    """One pydantic error as `key = value: what is accepted`."""
    # In a union, pydantic names the kind of the value, too: datasets.mine.split.order.train.
    key = re.sub(rf"\bsplit\.({'|'.join(METHODS)})\b", "split", ".".join(map(str, error["loc"])))
    kind, facts = error["type"], error.get("ctx", {})
    if kind == "union_tag_invalid":
        return f"{key}.method = {facts['tag']!r}: Input should be {facts['expected_tags']}"
    if kind in ("missing", "union_tag_not_found"):
        return f"{key if kind == 'missing' else f'{key}.method'}: is missing; add it, as the comments in {PARAMS} say"
    message = error["msg"].removeprefix("Value error, ")
    # Whole sections are long, and an address may hold a password, wherever it was written by mistake.
    if isinstance(error["input"], dict) or key.endswith(".source") or ":/" in str(error["input"]):
        return f"{key}: {message}" if key else message
    return f"{key} = {error['input']!r}: {message}"


def _validated(schema: Any, value: Any) -> Any:
    try:
        return pydantic.TypeAdapter(schema).validate_python(value)
    except pydantic.ValidationError as invalid:
        raise InputError(f"{PARAMS}: {'; '.join(map(_describe, invalid.errors()))}") from None


def validate(name: str, schema: Any, value: Any) -> Any:
    """Validate one section of params.yaml.

    Raises:
        InputError: names each wrong key, its value and what is accepted.
    """
    return _validated(dict[str, schema], {name: value})[name]


def check(raw: dict[str, Any]) -> Params:
    """Validate the whole of params.yaml.

    Raises:
        InputError: names each wrong key, its value and what is accepted.
    """
    return _validated(Params, raw)


class _Loader(yaml.SafeLoader):
    """Takes yes, no, on and off for text, as YAML 1.2 and DVC do: DVC drops the quotes of a class named "no"."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not (tag.endswith(":bool") and first in "yYnNoO")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(path: Path = PARAMS) -> dict[str, Any]:
    """Read params.yaml as a mapping from section to its raw values.

    Raises:
        InputError: there is no such file, or it has no sections.
    """
    try:
        params = _Loader(path.read_bytes()).get_single_data()
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run from the root of the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not YAML; {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise InputError(f"{path}: contains no sections; git show HEAD:./{path} shows those of the last commit")
    return params


def chosen_colours(dataset: str, path: Path = PARAMS) -> dict[str, str]:
    """`colours` of a dataset's entry, for a command that checks no parameters: none without such an entry here.

    Raises:
        InputError: one is no colour.
    """
    entries = load(path).get("datasets") if path.is_file() else None
    entry = entries.get(dataset) if isinstance(entries, dict) else None
    colours = entry.get("colours") if isinstance(entry, dict) else None
    return validate(f"datasets.{dataset}.colours", dict[str, Colour], colours or {})


def instruction_set(path: Path = PARAMS) -> str:
    """`runtime.instruction_set`, for a command that checks no parameters: `avx2` unless it is `native`."""
    runtime = load(path).get("runtime") if path.is_file() else None
    return "native" if isinstance(runtime, dict) and runtime.get("instruction_set") == "native" else "avx2"
