"""How Beam runs; the `beam` section of the settings."""

from pydantic import Field

from pipeline.settings.base import Settings


class BeamSettings(Settings):
    """How Beam runs the data-parallel nodes."""

    pipeline_args: tuple[str, ...] = Field(
        # Without the first, Beam downloads a runner written in Go before a local pipeline; without
        # the second, TFX packs itself into a source distribution for workers that do not exist.
        ("--runner=FnApiRunner", "--sdk_container_image=unused"),
        description="options of every Beam node",
    )
