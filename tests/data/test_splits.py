"""How images are dealt to splits and shards."""

import numpy as np

from data import splits
from data.layout import Role

IMAGES = np.random.default_rng(0).integers(0, 256, (5_000, 4, 4), np.uint8)
HASHES = splits.digests(IMAGES)
TRAIN, VALIDATION, EVAL = range(3)


def test_a_tenth_of_the_training_images_is_for_validation() -> None:
    dealt = splits.split_of(Role.TRAINING, HASHES)
    assert 0.08 < np.mean(dealt == VALIDATION) < 0.12
    assert not np.any(dealt == EVAL)


def test_validation_is_the_same_whether_or_not_a_span_is_the_newest() -> None:
    newest = splits.split_of(Role.NEW_SPAN, HASHES)
    older = splits.split_of(Role.TRAINING, HASHES)
    np.testing.assert_array_equal(newest == VALIDATION, older == VALIDATION)


def test_a_fifth_of_the_newest_span_is_held_out_for_evaluation() -> None:
    assert 0.18 < np.mean(splits.split_of(Role.NEW_SPAN, HASHES) == EVAL) < 0.22


def test_the_test_set_is_all_for_evaluation() -> None:
    assert np.all(splits.split_of(Role.TEST, HASHES) == EVAL)


def test_an_image_is_dealt_by_its_pixels_alone() -> None:
    shuffled = np.random.default_rng(1).permutation(len(IMAGES))
    np.testing.assert_array_equal(splits.digests(IMAGES[shuffled]), HASHES[shuffled])


def test_shards_are_even_within_every_split() -> None:
    shards = splits.shard_of(HASHES, 4)
    for split in (TRAIN, VALIDATION):
        sizes = np.bincount(shards[splits.split_of(Role.TRAINING, HASHES) == split], minlength=4)
        assert sizes.min() > 0.6 * sizes.mean()
    assert splits.shard_count(16_001, 8_000) == 3
    assert splits.shard_count(0, 8_000) == 1
