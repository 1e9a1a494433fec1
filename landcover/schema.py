"""What the sections of params.yaml are made of: types with ranges, and a section that refuses unknown keys.

It imports nothing heavy, so that parameters can be checked before a numerical library is imported.
"""

from typing import Annotated, Any

import pydantic

Count = Annotated[int, pydantic.Field(ge=1)]
Seed = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Positive = Annotated[float, pydantic.Field(gt=0)]
Share = Annotated[float, pydantic.Field(gt=0, lt=1)]


class Section(pydantic.BaseModel):
    """A section of params.yaml: each field has a type and a range, and unknown keys are refused.

    Numbers that YAML 1.1 reads as strings (`1e-4`) are accepted as numbers.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("it cannot be true or false")
        return value
