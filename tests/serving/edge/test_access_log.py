"""The edge's access log, read again."""

import json
from pathlib import Path
from typing import Any

import pytest

from serving.edge.access_log import Access, read_access


def line(**changes: Any) -> str:
    fields = {
        "time": 1795240112.5,
        "id": "a1",
        "model": "grey",
        "variant": "stable",
        "status": 200,
        "seconds": 0.004,
        "server_seconds": "0.003",
    }
    return json.dumps(fields | changes) + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "access.log"


def read(log: Path, since: float = 0.0) -> list[Access]:
    return list(read_access(log, since))


def test_a_request_is_read(log: Path) -> None:
    log.write_text(line())
    assert read(log) == [Access(1795240112.5, "a1", "grey", "stable", 200, 0.004, 0.003)]


def test_the_log_before_comes_first_and_none_is_no_mistake(log: Path) -> None:
    assert read(log) == []
    log.with_name("access.log.1").write_text(line(id="before"))
    log.write_text(line(id="after"))
    assert [access.request_id for access in read(log)] == ["before", "after"]


def test_what_is_older_is_left_out(log: Path) -> None:
    log.write_text(line(time=1.0) + line(time=2.0, id="b"))
    assert [access.request_id for access in read(log, since=2.0)] == ["b"]


def test_a_line_that_is_damaged_or_being_written_is_left_out(log: Path) -> None:
    log.write_bytes(b"\xff\xfe\n[]\nnull\n" + line().encode() + line()[:40].encode())
    assert len(read(log)) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("-", None), ("", None), ("0.100, 0.002", 0.002), ("0.100 : 0.004", 0.004)],
)
def test_the_servers_part_is_that_of_its_last_try(
    log: Path, text: str, seconds: float | None
) -> None:
    log.write_text(line(server_seconds=text))
    assert read(log)[0].server_seconds == seconds


@pytest.mark.parametrize(
    ("status", "counts", "failed"),
    [(200, True, False), (400, True, True), (500, True, True), (502, True, True)]
    + [(status, False, True) for status in (401, 403, 413, 429, 499)],
)
def test_a_version_is_not_blamed_for_what_the_edge_or_the_client_refused(
    log: Path, status: int, counts: bool, failed: bool
) -> None:
    log.write_text(line(status=status))
    [access] = read(log)
    assert (access.counts, access.failed) == (counts, failed)


def test_a_request_for_a_chosen_version_says_nothing_about_variants(log: Path) -> None:
    log.write_text(line(variant=""))
    assert not read(log)[0].counts
