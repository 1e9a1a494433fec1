"""How a stage meets the shell: its paths and parameters come in, an exit code goes out.

A stage is a function whose positional parameters are the paths that dvc.yaml passes, in order, and whose
keyword-only parameters are top-level entries of params.yaml, each annotated with the type that validates it:

    def train(tensors: Path, model_path: Path, *, train: Training, runtime: Runtime) -> None: ...

    if __name__ == "__main__":
        cli.run(train)
"""

import difflib
import inspect
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import yaml

PARAMS = Path("params.yaml")


class InputError(Exception):
    """Something that the user gave is wrong; the message says what, and what to do about it."""


class Section(pydantic.BaseModel):
    """A section of params.yaml: each field has a type and a range, and a key that is no field is refused.

    Numbers that YAML 1.1 reads as strings (`1e-4`) are taken as the numbers they are.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("true and false are no values for it")
        return value


def _device_name(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("choose auto, cpu, cuda, cuda:<number> or mps")
    return name


class Runtime(Section):
    """How to compute. `threads` and `instruction_set` decide the bytes of a result and are tracked by DVC."""

    device: Annotated[str, pydantic.AfterValidator(_device_name)]
    threads: Annotated[int, pydantic.Field(ge=1, le=1024)]
    instruction_set: Literal["avx2", "native"]
    workers: Annotated[int, pydantic.Field(ge=1, le=1024)]


def _describe(error: dict, names: list[str]) -> str:
    """One pydantic error as 'key = value: what would be accepted'."""
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(location[-1], names, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(names)}"
        return f"{key}: no such parameter; {hint}"
    if error["type"] == "missing":
        return f"{key}: is missing from {PARAMS}; add it"
    message = error["msg"].removeprefix("Value error, ")
    message = f"{message[0].lower()}{message[1:]}"
    # What is wrong with a section as a whole is not told by printing it.
    return f"{key}: {message}" if isinstance(error["input"], dict) else f"{key} = {error['input']!r}: {message}"


def validate(name: str, schema: Any, value: Any) -> Any:
    """Check one entry of params.yaml against its type.

    Raises:
        InputError: names each wrong key, its value and what would be accepted.
    """
    try:
        return pydantic.TypeAdapter(dict[str, schema]).validate_python({name: value})[name]
    except pydantic.ValidationError as invalid:
        names = list(schema.model_fields) if hasattr(schema, "model_fields") else []
        wrong = "; ".join(_describe(error, names) for error in invalid.errors())
        raise InputError(f"{PARAMS}: {wrong}") from None


def load_params(path: Path = PARAMS) -> dict[str, Any]:
    """Read params.yaml as a mapping from section to its raw values."""
    try:
        params = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: not found; run from the top of the repository") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not YAML; {' '.join(str(error).split())}") from None
    if not isinstance(params, dict):
        raise InputError(f"{path}: holds no sections; restore it with git checkout {path}")
    return params


def arguments(stage: Callable, params: dict[str, Any]) -> dict[str, Any]:
    """The keyword-only arguments of `stage`, taken from `params` and validated.

    Raises:
        InputError: a section is missing or a value in it is wrong.
    """
    found = {}
    for name, parameter in inspect.signature(stage).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            if name not in params:
                raise InputError(f"{PARAMS}: {name}: is missing; add it")
            found[name] = validate(name, parameter.annotation, params[name])
    return found


def guard(action: Callable[[], None]) -> None:
    """Run `action` and exit: bad input ends in one line and 1, Ctrl-C in 130; a bug shows its traceback."""
    # SIGTERM as Ctrl-C, so that what a stage cleans up on its way out is cleaned up then too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        action()
    except InputError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        # A full disk, a folder without permission: the system's own words, and the path.
        if error.filename is None and error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"error: {where}{os.strerror(error.errno) if error.errno else error}: free or fix it, then run again")
    except KeyboardInterrupt:
        # DVC records the outputs of a stage that exits 0 as whole, so an interrupted one must not.
        sys.exit(130)


def run(stage: Callable) -> None:
    """Call `stage` with the paths of the command line and the parameters of params.yaml."""
    parameters = inspect.signature(stage).parameters.values()
    paths = [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]
    given = sys.argv[1:]
    module = Path(sys.argv[0]).stem
    usage = f"usage: python -m stages.{module} {' '.join(name.upper() for name in paths)}"
    if {"-h", "--help"} & set(given):
        print(f"{inspect.getdoc(stage)}\n\n{usage}\n\nDVC calls it: see dvc.yaml. Parameters: {PARAMS}.")
        sys.exit(0)
    if len(given) != len(paths):
        sys.exit(f"error: {module} takes {len(paths)} paths, not {len(given)}: {usage}")
    guard(lambda: stage(*map(Path, given), **arguments(stage, load_params())))
