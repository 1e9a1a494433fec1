"""What the sections of params.yaml are made of: types with ranges, and a section that refuses unknown keys.

It imports nothing heavy, so that parameters can be checked before a numerical library is imported.
"""

import difflib
from typing import Annotated, Any

import pydantic

Count = Annotated[int, pydantic.Field(ge=1)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Positive = Annotated[float, pydantic.Field(gt=0)]
Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("list each one once")
    return names


Distinct = pydantic.AfterValidator(_distinct)


class Section(pydantic.BaseModel):
    """A section of params.yaml: each field has a type and a range, and unknown keys are refused.

    Numbers that YAML 1.1 reads as strings (`1e-4`) are accepted as numbers. No field has a default that decides the
    bytes of an output, unless a module that dvc.yaml tracks defines it: this schema is in no `deps`.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _keys(cls, section: Any) -> Any:
        for key, value in section.items() if isinstance(section, dict) else ():
            if key not in cls.model_fields:
                close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(cls.model_fields)}"
                raise ValueError(f"no such parameter '{key}'; {hint}")
            if isinstance(value, bool) and cls.model_fields[key].annotation is not bool:
                raise ValueError(f"{key} cannot be true or false")  # to Python, true is the number 1
        return section
