"""Where the record of runs is kept; the `metadata` section of the settings."""

from pydantic import Field

from pipeline.settings.base import Settings


class MetadataSettings(Settings):
    """Where the record of runs is kept; passwords are PostgreSQL's own `PGPASSWORD` or file."""

    host: str | None = Field(None, min_length=1, description="of PostgreSQL; None: a SQLite file")
    port: int = Field(5432, ge=1, le=65535, description="of PostgreSQL")
    database: str = Field("fashion_mnist", min_length=1, description="is made when missing")
    user: str = Field("fashion_mnist", min_length=1, description="of PostgreSQL")
