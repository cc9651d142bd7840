"""Writes the examples: reads the files by Beam and sorts them into shards.

The images of IDX files are encoded as PNG, pictures stay as they are.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tfx import types
from tfx.components.example_gen import utils as example_gen_utils
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils
from tfx.types.standard_component_specs import EXAMPLES_KEY

from components.idx_example_gen import parameters, pictures
from components.idx_example_gen.output import (
    NEW_SPANS_PROPERTY,
    SPANS_DETAIL_PROPERTY,
    SPANS_PROPERTY,
)
from components.idx_example_gen.verification import read_pair, verify
from data import splits
from data.idx import Bytes
from data.layout import Layout, Pair, origin_of

logger = logging.getLogger(__name__)

# A PNG that stores its pixels uncompressed inside a lightly gzipped record file takes a third of
# the processor time of a compressed PNG in the same file, and no more space.
_PNG_COMPRESSION = 0
_RECORD_OPTIONS = tf.io.TFRecordOptions(compression_type="GZIP", compression_level=1)


# One output file: the name of its split, its number, and how many shards the split has.
Shard = tuple[str, int, int]


@dataclass(frozen=True)
class Batch:
    """Examples of one pair of files that go into one shard, in the files' order.

    Attributes:
        place: position of the pair in the layout.
        pair: the files.
        rows: positions of the examples in them, int64 [examples].
    """

    place: int
    pair: Pair
    rows: npt.NDArray[np.int64]


class AssignShards(beam.DoFn):
    """Turns the position and paths of a pair into batches, one for every shard it feeds.

    The images stay in their files: Beam would hold them in memory, and more than once.
    """

    def __init__(self, shard_counts: dict[str, int]) -> None:
        self._shard_counts = shard_counts

    def process(self, element: tuple[int, Pair]) -> Iterator[tuple[Shard, Batch]]:
        place, pair = element
        images, _ = read_pair(pair)
        hashes = splits.digests(images)
        del images
        split_of = splits.split_of(pair.role, hashes)
        for position, split in enumerate(splits.SPLITS):
            total = self._shard_counts[split]
            shard_of = splits.shard_of(hashes, total)
            for number in range(total):
                chosen = np.flatnonzero((split_of == position) & (shard_of == number))
                if chosen.size:
                    yield (split, number, total), Batch(place, pair, chosen)


class WriteShard(beam.DoFn):
    """Writes one shard as a file of tf.Examples, its examples in the order of the layout."""

    def __init__(self, split_uris: dict[str, str]) -> None:
        self._split_uris = split_uris
        self._read: dict[int, tuple[Bytes, Bytes]] = {}

    def process(self, element: tuple[Shard, Iterable[Batch | pictures.PictureBatch]]) -> None:
        (split, number, total), batches = element
        path = f"{self._split_uris[split]}/data_tfrecord-{number:05d}-of-{total:05d}.gz"
        # Beam may run an element twice; the rename makes the second time harmless.
        partial = f"{path}.partial"
        with tf.io.TFRecordWriter(partial, _RECORD_OPTIONS) as writer:
            for batch in sorted(batches, key=lambda batch: batch.place):
                for example in self._examples(batch):
                    writer.write(example)
        tf.io.gfile.rename(partial, path, overwrite=True)

    def _examples(self, batch: Batch | pictures.PictureBatch) -> Iterator[bytes]:
        if isinstance(batch, pictures.PictureBatch):
            origin = batch.folder.origin.encode()
            for content, label, mean in pictures.contents(batch):
                yield _example(content, label, mean, origin)
            return
        if batch.place not in self._read:
            self._read[batch.place] = read_pair(batch.pair)
        images, labels = self._read[batch.place]
        yield from _examples(images[batch.rows], labels[batch.rows], batch.pair.origin)

    def finish_bundle(self) -> None:
        """Lets go of the images."""
        self._read.clear()


def _examples(images: Bytes, labels: Bytes, origin: str) -> Iterator[bytes]:
    pngs = tf.io.encode_png(images[..., np.newaxis], compression=_PNG_COMPRESSION).numpy()
    means: npt.NDArray[np.float64] = images.mean(axis=(1, 2))
    encoded_origin = origin.encode()
    for png, label, mean in zip(pngs, labels.tolist(), means.tolist(), strict=True):
        yield _example(png, label, mean, encoded_origin)


def _example(encoded: bytes, label: int, mean: float, origin: bytes) -> bytes:
    example = tf.train.Example()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(encoded)
    feature["label"].int64_list.value.append(label)
    feature["origin"].bytes_list.value.append(origin)
    feature["mean_pixel"].float_list.value.append(mean)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def _details(layout: Layout, images: Mapping[int, int]) -> Iterator[dict[str, Any]]:
    for span in layout.spans:
        digest = layout.digest(origin_of(span))
        yield {"span": span, "images": images[span], "sha256": digest}


def _make_splits(artifact: types.Artifact) -> dict[str, str]:
    artifact.split_names = artifact_utils.encode_split_names(list(splits.SPLITS))
    uris = {split: artifact_utils.get_split_uri([artifact], split) for split in splits.SPLITS}
    for uri in uris.values():
        tf.io.gfile.makedirs(uri)
    return uris


class FilesChangedError(Exception):
    """Somebody writes into the data root; says nothing about the data, and is not remembered."""


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of IdxExampleGen.

    It resolves the files itself when no driver ran before it, as under Kubeflow Pipelines.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits `train`, `validation` and `eval`.

        Raises:
            DataRefused: a file is missing, damaged or does not fit; nothing was written.
            FilesChangedError: a file is another one than when the run began.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        layout = parameters.resolve(exec_properties)
        fingerprint = layout.fingerprint()
        expected = exec_properties.get(example_gen_utils.FINGERPRINT_PROPERTY_NAME, fingerprint)
        if fingerprint != expected:
            raise FilesChangedError(
                f"{exec_properties['input_base']}: the files changed while they were being read"
            )
        class_count = exec_properties["class_count"]
        labels = json.loads(exec_properties["labels"]) or list(map(str, range(class_count)))
        artifact = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        max_pixels = exec_properties["max_pixels"]
        looked = self._look(layout, max_pixels, artifact.uri)
        verified = verify(layout, class_count, max_pixels, looked, labels)
        counts = verified.by_split
        per_shard = exec_properties["examples_per_shard"]
        shard_counts = {name: splits.shard_count(counts[name], per_shard) for name in counts}

        split_uris = _make_splits(artifact)
        of_pictures = list(pictures.batches(looked, layout, labels, shard_counts))
        with self._make_beam_pipeline() as pipeline:
            of_pairs = (
                pipeline
                | "Files" >> beam.Create(list(enumerate(layout.pairs)))
                | "Spread" >> beam.Reshuffle()
                | "Assign" >> beam.ParDo(AssignShards(shard_counts))
            )
            _ = (
                (of_pairs, pipeline | "Pictures" >> beam.Create(of_pictures))
                | beam.Flatten()
                | "Gather" >> beam.GroupByKey()
                | "Write" >> beam.ParDo(WriteShard(split_uris))
            )
        artifact.span = layout.newest_span
        for name, value in (
            (SPANS_PROPERTY, layout.spans),
            (NEW_SPANS_PROPERTY, layout.new_spans),
            (SPANS_DETAIL_PROPERTY, list(_details(layout, verified.by_span))),
        ):
            artifact.set_string_custom_property(name, json.dumps(value))
        artifact.set_string_custom_property(
            example_gen_utils.FINGERPRINT_PROPERTY_NAME, fingerprint
        )
        examples_utils.set_payload_format(artifact, example_gen_pb2.FORMAT_TF_EXAMPLE)
        examples_utils.set_file_format(artifact, "tfrecords_gzip")
        pairs = (pair.origin for pair in layout.pairs)
        folders = (found.origin for found in layout.folders)
        logger.info("Examples from %s: %s", ", ".join([*pairs, *folders]), counts)

    def _look(self, layout: Layout, max_pixels: int, uri: str) -> list[pictures.Looked]:
        """Returns what is seen of every picture; what lies below `uri` meanwhile is removed."""
        files = pictures.files_of(layout)
        if not files:
            return []
        folder = f"{uri}/looked"
        try:
            with self._make_beam_pipeline() as pipeline:
                _ = (
                    pipeline
                    | "Files" >> beam.Create(files)
                    | "Spread" >> beam.Reshuffle()
                    | "Look" >> beam.ParDo(pictures.Look(max_pixels))
                    | "Keep" >> beam.io.WriteToText(f"{folder}/pictures", ".json")
                )
            return pictures.read_looked(f"{folder}/*.json")
        finally:
            if tf.io.gfile.exists(folder):
                tf.io.gfile.rmtree(folder)
