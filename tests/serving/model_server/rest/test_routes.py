"""Which request a method and path stand for (the table of TensorFlow Serving's own tests)."""

import pytest

from serving.model_server.rest.routes import Kind, route


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
@pytest.mark.parametrize(
    ("where", "version", "label"),
    [("", None, None), ("/versions/50", 50, None), ("/labels/some_label", None, "some_label")],
)
def test_inference_names_a_model_and_maybe_a_version_or_label(
    verb: str, where: str, version: int | None, label: str | None
) -> None:
    read = route("POST", f"/v1/models/foo{where}:{verb}".encode())
    assert read.kind is Kind(verb)
    assert (read.model_name, read.version, read.label, read.verb) == ("foo", version, label, verb)


@pytest.mark.parametrize(
    ("target", "kind", "name", "version", "label"),
    [
        ("/v1/models/foo", Kind.STATUS, "foo", None, None),
        ("/v1/models/foo/versions/50", Kind.STATUS, "foo", 50, None),
        ("/v1/models/foo/labels/some_label", Kind.STATUS, "foo", None, "some_label"),
        ("/v1/models/foo/metadata", Kind.METADATA, "foo", None, None),
        ("/v1/models/foo/versions/50/metadata", Kind.METADATA, "foo", 50, None),
        ("/v1/models/foo/labels/some_label/metadata", Kind.METADATA, "foo", None, "some_label"),
        ("/v1/models", Kind.STATUS, "", None, None),
        ("/v1/models/versions/1", Kind.STATUS, "", 1, None),
        ("/v1/models/metadata", Kind.STATUS, "metadata", None, None),
        ("/V1/Models/Foo", Kind.STATUS, "Foo", None, None),
        ("/v1/models/foo/METADATA", Kind.STATUS, "foo", None, None),
        ("/v1/models/a%2Fb", Kind.STATUS, "a/b", None, None),
        ("/v1/models/a%20b/labels/c%3Ad", Kind.STATUS, "a b", None, "c:d"),
        ("/v1/models/foo/versions/9223372036854775807", Kind.STATUS, "foo", 2**63 - 1, None),
        ("/v1/models/foo/versions/" + "0" * 5000 + "7", Kind.STATUS, "foo", 7, None),
        # A query is no part of any pattern, but a name may hold a question mark.
        ("/v1/models/foo?verbose=1", Kind.STATUS, "foo?verbose=1", None, None),
        ("http://host:8501/v1/models/foo", Kind.STATUS, "foo", None, None),
        ("//host/v1/models/foo", Kind.STATUS, "foo", None, None),
    ],
)
def test_status_and_metadata_are_read(
    target: str, kind: Kind, name: str, version: int | None, label: str | None
) -> None:
    read = route("GET", target.encode())
    assert (read.kind, read.model_name, read.version, read.label) == (kind, name, version, label)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/foo"),
        ("GET", "/v1/"),
        ("GET", "/v1/models/"),
        ("GET", "/v1/models/foo/"),
        ("GET", "/v1/models/foo:predict"),
        ("GET", "/v1/models/foo/version/50"),
        ("GET", "/v1/models/foo/versions/HELLO"),
        ("GET", "/v1/models/foo/versions/50/labels/some_label"),
        ("GET", "/v1/models/foo/label/some_label"),
        ("GET", "/v1/models/a/b"),
        ("POST", "/v1/foo"),
        ("POST", "/v1/models"),
        ("POST", "/v1/models/foo"),
        ("POST", "/v1/models/foo/metadata"),
        ("POST", "/v1/models/foo:explain"),
        ("POST", "/v1/models/foo:PREDICT"),
        ("POST", "/v1/models/foo/versions/1/:predict"),
        ("POST", "/v1/models/foo/version/50:predict"),
        ("POST", "/v1/models/foo/versions/HELLO:regress"),
        ("POST", "/v1/models/foo/versions/50/labels/some_label:regress"),
        ("POST", "/v1/models/foo/label/some_label:regress"),
        ("POST", "/v1/models/foo:predict?x"),
        ("PUT", "/v1/models/foo:predict"),
        ("DELETE", "/v1/models/foo"),
        ("HEAD", "/v1/models/foo"),
        ("PATCH", "/v1/models/foo:predict"),
    ],
)
def test_everything_else_below_v1_is_malformed(method: str, target: str) -> None:
    read = route(method, target.encode())
    assert read.kind is Kind.MALFORMED
    assert read.path_and_query == target


@pytest.mark.parametrize("version", ["9223372036854775808", "18446744073709551615", "9" * 5000])
def test_versions_beyond_int64_are_bad(version: str) -> None:
    assert route("POST", f"/v1/models/foo/versions/{version}:regress".encode()).kind is (
        Kind.BAD_VERSION
    )


@pytest.mark.parametrize("target", ["/", "/v1", "/v2/models/foo", "/monitoring?x", "*", ""])
def test_other_paths_are_not_the_api(target: str) -> None:
    assert route("GET", target.encode()).kind is Kind.NOT_API


@pytest.mark.parametrize(
    "target", [b"/v1/models/a b", b"/v1/models/%zz", b"/v1/models/%2", b"/\xff", b"/v1/[x]", b"/\\"]
)
def test_targets_that_are_no_uri_are_bad(target: bytes) -> None:
    assert route("GET", target).kind is Kind.BAD_TARGET


def test_a_preflight_may_ask_for_any_path_of_the_api() -> None:
    assert route("OPTIONS", b"/v1/anything").kind is Kind.PREFLIGHT


def test_names_that_are_not_utf_8_survive() -> None:
    read = route("GET", b"/v1/models/%ff")
    assert read.model_name.encode("utf-8", "surrogateescape") == b"\xff"
