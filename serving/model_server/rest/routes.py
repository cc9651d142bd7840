"""Which request a method and a path stand for, by TensorFlow Serving's rules.

Source: tensorflow_serving/model_servers/http_rest_api_util.cc (the two patterns, percent-decoding)
and util/net_http (a path is matched together with its query).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from urllib.parse import unquote_to_bytes

_MAX_INT64 = 2**63 - 1
_MAX_REMEMBERED_BYTES = 256

# RFC 3986, as strictly as libevent's evhttp_uri_parse takes it.
_PATH_CHARS = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*"
_QUERY_CHARS = rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*"
_TARGET = re.compile(
    rb"(?:[A-Za-z][A-Za-z0-9+.\-]*:)?(?://[^/?#]*)?"
    rb"(?P<path>" + _PATH_CHARS + rb")(?P<query>(?:\?" + _QUERY_CHARS + rb")?"
    rb"(?:#" + _QUERY_CHARS + rb")?)"
)
_API = re.compile(r"/v1/.*", re.IGNORECASE | re.ASCII)
_INFERENCE = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/([0-9]+)|/labels/([^/:]+))?:(classify|regress|predict)",
    re.IGNORECASE | re.ASCII,
)
_STATUS = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/([0-9]+)|/labels/([^/:]+))?(?:/(metadata))?",
    re.IGNORECASE | re.ASCII,
)


class Kind(StrEnum):
    """What a request asks for."""

    PREDICT = "predict"
    CLASSIFY = "classify"
    REGRESS = "regress"
    STATUS = "status"
    METADATA = "metadata"
    PREFLIGHT = "preflight"
    MALFORMED = "malformed"
    BAD_VERSION = "bad version"
    NOT_API = "not api"
    BAD_TARGET = "bad target"


@dataclass(frozen=True, slots=True)
class Route:
    """A request line read: `path` has no query, `path_and_query` is what error texts show."""

    kind: Kind
    path: str = ""
    path_and_query: str = ""
    model_name: str = ""
    version: int | None = None
    label: str | None = None
    verb: str = ""


def route(method: str, target: bytes) -> Route:
    """Reads a request line; never raises, whatever the target is."""
    if len(target) > _MAX_REMEMBERED_BYTES:
        return _read_route(method, target)
    return _remembered_route(method, target)


def _read_route(method: str, target: bytes) -> Route:
    match = _TARGET.fullmatch(target)
    if match is None:
        return Route(Kind.BAD_TARGET)
    path = match["path"].decode()
    full = path + match["query"].decode()
    if not _API.fullmatch(full):
        return Route(Kind.NOT_API, path, full)
    if method == "OPTIONS":
        return Route(Kind.PREFLIGHT, path, full)
    pattern = {"POST": _INFERENCE, "GET": _STATUS}.get(method)
    parts = pattern.fullmatch(full) if pattern else None
    if parts is None:
        return Route(Kind.MALFORMED, path, full)
    name, version, label, last = parts.groups()
    name = _decoded(name or "")
    verb = (last or "") if method == "POST" else ""
    digits = (version or "").lstrip("0")
    if len(digits) > len(str(_MAX_INT64)) or int(digits or "0") > _MAX_INT64:
        return Route(Kind.BAD_VERSION, path, full, name, verb=verb)
    return Route(
        kind=_kind(method, last or ""),
        path=path,
        path_and_query=full,
        model_name=name,
        version=int(digits or "0") if version is not None else None,
        label=_decoded(label) if label is not None else None,
        verb=verb,
    )


_remembered_route = lru_cache(maxsize=1024)(_read_route)


def _kind(method: str, last: str) -> Kind:
    """The patterns ignore case, but what they matched must be lower case to count."""
    if method == "GET":
        return Kind.METADATA if last == "metadata" else Kind.STATUS
    known = {kind.value: kind for kind in (Kind.PREDICT, Kind.CLASSIFY, Kind.REGRESS)}
    return known.get(last, Kind.MALFORMED)


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")
