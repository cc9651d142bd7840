"""ML Metadata on PostgreSQL, around two defects of its release 1.17.1 there.

It puts PostgreSQL's `E'...'` notation for a text with a backslash between quotes of its own, so
that TFX's JSON properties are a syntax error. Texts therefore go there with a character of
Unicode's private use area in place of the backslash, and come back as they were.

It indexes the values of properties, which PostgreSQL limits to 2,704 bytes after compression. The
only ones beyond that are TFX's descriptions of protos that are properties (70 kB of descriptors),
which nothing reads back; they are left out.
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


def metadata_of(connection: metadata_store_pb2.ConnectionConfig) -> Metadata:
    """Returns TFX's handle of the metadata; it connects when it is entered."""
    return (
        PostgresqlMetadata(connection)
        if connection.HasField("postgresql")
        else Metadata(connection)
    )


class PostgresqlMetadata(Metadata):
    """TFX's handle of metadata, for PostgreSQL."""

    def __enter__(self) -> "PostgresqlMetadata":
        """Connects."""
        super().__enter__()
        # Every method of the store goes through this one.
        self.store._call = partial(_call, self.store._call)
        return self


def _call(call: Any, method: str, request: Message, response: Message, *options: Any) -> None:
    outgoing = copy.deepcopy(request)
    for message in _messages(outgoing):
        if isinstance(message, metadata_store_pb2.Execution):
            for name in filter(execution_lib.is_schema_key, list(message.custom_properties)):
                del message.custom_properties[name]
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
