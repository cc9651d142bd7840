"""The base of every section of the settings."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Values that never change and accept no unknown name."""

    model_config = ConfigDict(extra="forbid", frozen=True)
