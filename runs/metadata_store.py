"""ML Metadata without what nothing reads, and around two defects of its release 1.17.1.

TFX describes every proto that is a property of an execution (70 kB of descriptors a run), and
nothing reads that back; it is left out. PostgreSQL could not hold it either: ML Metadata indexes
the values of properties there, which must not exceed 2,704 bytes after compression.

On PostgreSQL, ML Metadata puts the `E'...'` notation for a text with a backslash between quotes of
its own, so that TFX's JSON properties are a syntax error. Texts therefore go there with a character
of Unicode's private use area in place of the backslash, and come back as they were.
"""

import copy
from collections.abc import Iterator
from functools import partial
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.metadata import Metadata
from tfx.orchestration.portable.mlmd import execution_lib

_BACKSLASH = "\\"
_STAND_IN = "\ue05c"


class StoredMetadata(Metadata):
    """TFX's handle of metadata, in SQLite or PostgreSQL; it connects when it is entered."""

    def __enter__(self) -> "StoredMetadata":
        """Connects."""
        super().__enter__()
        # Every method of the store goes through this one.
        self.store._call = partial(_without_descriptors, self.store._call)
        if self._connection_config.HasField("postgresql"):
            self.store._call = partial(_without_backslashes, self.store._call)
        return self


def _without_descriptors(
    call: Any, method: str, request: Message, response: Message, *options: Any
) -> None:
    outgoing = copy.deepcopy(request)
    for message in _messages(outgoing):
        if isinstance(message, metadata_store_pb2.Execution):
            for name in filter(execution_lib.is_schema_key, list(message.custom_properties)):
                del message.custom_properties[name]
    call(method, outgoing, response, *options)


def _without_backslashes(
    call: Any, method: str, request: Message, response: Message, *options: Any
) -> None:
    outgoing = copy.deepcopy(request)
    for message in _messages(outgoing):
        _exchange(message, _BACKSLASH, _STAND_IN)
    call(method, outgoing, response, *options)
    for message in _messages(response):
        _exchange(message, _STAND_IN, _BACKSLASH)


def _exchange(message: Message, old: str, new: str) -> None:
    for field, value in message.ListFields():
        if isinstance(value, str) and old in value:
            setattr(message, field.name, value.replace(old, new))


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            for part in _parts(field, value):
                yield from _messages(part)


def _parts(field: FieldDescriptor, value: Any) -> list[Message]:
    if isinstance(value, Message):
        return [value]
    if field.message_type.GetOptions().map_entry:
        return [part for part in value.values() if isinstance(part, Message)]
    return list(value)
