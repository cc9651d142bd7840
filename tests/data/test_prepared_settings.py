"""What `data prepare` writes suits how many pictures there are, and how large."""

import pytest

from data.prepared_settings import batch_size, schema_for
from pipeline.settings.paths import SCHEMA_FILE


@pytest.mark.parametrize(
    ("train", "edge", "expected"),
    [
        (60_000, 28, 256),
        (60_000, 64, 256),
        (60_000, 96, 128),
        (60_000, 224, 32),
        (60_000, 2000, 8),
        (100, 28, 8),
        (1000, 28, 32),
    ],
)
def test_a_step_has_fewer_pictures_where_they_are_few_or_large(
    train: int, edge: int, expected: int
) -> None:
    assert batch_size(train, edge) == expected


def test_the_schema_has_a_label_for_every_class() -> None:
    assert "max: 4" in schema_for(SCHEMA_FILE.read_text(), 5)
    with pytest.raises(ValueError, match="no integer domain"):
        schema_for("", 5)
