"""What a tuning searches, and for how long; the `tuning` section of the settings."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, field_validator

from pipeline.settings.base import Settings
from pipeline.settings.hyperparameters import Hyperparameters


@dataclass(frozen=True)
class Between:
    """A continuous range, searched on a logarithmic scale where orders of magnitude count."""

    low: float
    high: float
    logarithmic: bool = False

    def nearest(self, value: float) -> float:
        """Returns the value in the range that is closest to `value`."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class OneOf:
    """Some whole numbers."""

    numbers: tuple[int, ...]

    def choices(self, value: int) -> list[int]:
        """Returns the numbers in their order, `value` of the settings among them."""
        return sorted({value, *self.numbers})


@dataclass(frozen=True)
class Times:
    """Multiples of the value in the settings, rounded to whole numbers; of each, for widths."""

    factors: tuple[float, ...]

    def choices(self, value: int | Sequence[int]) -> list[int] | list[tuple[int, ...]]:
        """Returns the different multiples in the order of the factors, `value` among them."""
        factors = sorted({1.0, *self.factors})
        if isinstance(value, int):
            return list(dict.fromkeys(_multiple(value, factor) for factor in factors))
        return list(
            dict.fromkeys(tuple(_multiple(part, factor) for part in value) for factor in factors)
        )


def _multiple(value: int, factor: float) -> int:
    return max(1, round(factor * value))


SEARCH_SPACE: dict[str, Between | OneOf | Times] = {
    "learning_rate": Between(5e-4, 5e-2, logarithmic=True),
    "weight_decay": Between(1e-5, 2e-1, logarithmic=True),
    "label_smoothing": Between(0.0, 0.3),
    "dropout": Between(0.0, 0.6),
    "batch_size": Times((0.5, 2.0)),
    "random_shift": OneOf((0, 1, 2)),
    "cutout": OneOf((0, 4, 8)),
    "filters": Times((0.5, 0.75, 1.5)),
    "dense_units": Times((0.5, 2.0)),
}


class TuningSettings(Settings):
    """Whether and how hyperparameters are searched before training."""

    enabled: bool = Field(False, description="as `runner.py tune` sets it")
    minutes: float = Field(30.0, gt=0, description="of search; the first trial is always made")
    trials: int = Field(30, ge=1, description="at most, however much time is left")
    epochs: int = Field(4, ge=1, description="of each trial")
    parameters: tuple[str, ...] = Field(
        ("learning_rate", "weight_decay", "label_smoothing", "dropout", "batch_size"),
        min_length=1,
        description="names from the search space; others keep the value of the settings. Of short "
        "trials, augmentation shows its cost and not its use, widths their use and not their cost",
    )

    @field_validator("parameters")
    @classmethod
    def _are_in_the_space(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in SEARCH_SPACE]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)} cannot be searched; there are {', '.join(SEARCH_SPACE)}"
            )
        return tuple(dict.fromkeys(names))


def nearest_in_space(settings: Hyperparameters, names: Sequence[str]) -> dict[str, object]:
    """Returns the values of the settings, moved into the search space where they are outside."""
    values = settings.model_dump(mode="json")
    return {
        name: space.nearest(values[name])
        if isinstance(space := SEARCH_SPACE[name], Between)
        else values[name]
        for name in names
    }
