"""The base of every section of the settings."""

from pathlib import Path
from typing import Any

from annotated_types import Le, Lt
from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

from files.paths import resolved

# Of seconds, days or steps: a larger number only fails later, where something is counted in it.
_MOST = 1_000_000_000


class Settings(BaseModel):
    """Values that never change, accept no unknown name, and no value that only fails later."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _can_be_used(cls, value: Any, info: ValidationInfo) -> Any:
        limits = cls.model_fields[info.field_name or ""].metadata
        has_own_limit = any(isinstance(each, Le | Lt) for each in limits)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, int | float) and each > _MOST and not has_own_limit:
                raise ValueError(f"input should be at most {_MOST}")
            if isinstance(each, Path):
                resolved(each)
        return value
