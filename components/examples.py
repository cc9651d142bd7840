"""Reads the examples of a split."""

from itertools import chain

import tensorflow as tf
from tfx import types
from tfx.dsl.io import fileio
from tfx.types import artifact_utils

# One at a time, handing them to Python takes ten times as long as reading them.
_RECORDS_AT_ONCE = 1_000


def read_examples(examples: list[types.Artifact], split: str) -> list[bytes]:
    """Returns all serialized tf.Examples of a split, in the order of its files.

    Raises:
        ValueError: the split holds no examples.
    """
    uris = artifact_utils.get_split_uris(examples, split)
    files = sorted(path for uri in uris for path in fileio.glob(f"{uri}/*"))
    records = read_records(files)
    if not records:
        raise ValueError(f"split {split} of {examples[0].uri} holds no examples")
    return records


def read_records(files: list[str]) -> list[bytes]:
    """Returns the records of gzipped TFRecord files."""
    if not files:
        return []
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_RECORDS_AT_ONCE)
    return list(chain.from_iterable(records.as_numpy_iterator()))


def sample_evenly(records: list[bytes], count: int) -> list[bytes]:
    """Returns some of the records, spread evenly so that their order does not matter."""
    count = min(count, len(records))
    return [records[index * len(records) // count] for index in range(count)]


def as_example(picture: bytes) -> bytes:
    """Returns a serialized tf.Example that holds a picture, as `image`, and nothing else."""
    value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture]))
    return bytes(
        tf.train.Example(features=tf.train.Features(feature={"image": value})).SerializeToString()
    )
