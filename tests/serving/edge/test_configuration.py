"""What an edge's nginx.conf says, and what is refused before nginx sees it."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.edge.configuration import render
from serving.edge.nginx import find_nginx, write_configuration
from serving.edge.values import Edge, EdgeError


@pytest.fixture
def edge(tmp_path: Path) -> Edge:
    return Edge("grey", tmp_path / "grey", "127.0.0.1:8501", "127.0.0.1:8500", tmp_path / "edge")


def tokens(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "tokens"
    path.write_text(text)
    return path


@pytest.mark.skipif(find_nginx() is None, reason="there is no nginx on this machine")
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sample": 1.0, "recorder": "127.0.0.1:9"},
        {"sample": 0.00001, "recorder": "127.0.0.1:9"},
        {"host": "::1", "grpc_port": None, "requests_per_second": 5},
        {"requests_per_second": 5, "connections_per_address": 5},
        {"model_name": "a.b-c_1", "sticky_header": "X-Session"},
    ],
)
def test_nginx_takes_it(edge: Edge, changes: dict[str, Any]) -> None:
    write_configuration(replace(edge, **changes))


@pytest.mark.skipif(find_nginx() is None, reason="there is no nginx on this machine")
def test_what_nginx_does_not_take_leaves_the_configuration_before_in_force(edge: Edge) -> None:
    path = write_configuration(edge)
    before = path.read_text()
    with pytest.raises(EdgeError, match="nginx does not take"):
        write_configuration(replace(edge, rest="no such host:0"))
    assert path.read_text() == before


def test_without_a_sample_nothing_is_mirrored(edge: Edge) -> None:
    assert "mirror" not in render(replace(edge, recorder="127.0.0.1:9"))
    assert "mirror" in render(replace(edge, recorder="127.0.0.1:9", sample=0.1))


@pytest.mark.parametrize(
    "text", ["", "short\n", 'quote"-and-more-letters\n', "$variable-in-it-0\n"]
)
def test_a_file_without_proper_tokens_is_refused(edge: Edge, tmp_path: Path, text: str) -> None:
    with pytest.raises(EdgeError, match="token a line"):
        render(replace(edge, tokens=tokens(tmp_path, text)))


def test_tokens_are_compared_letter_by_letter(edge: Edge, tmp_path: Path) -> None:
    text = render(replace(edge, tokens=tokens(tmp_path, "aB3.aB3.aB3.aB3.\n")))
    assert r'"~^Bearer aB3\.aB3\.aB3\.aB3\.$" 1;' in text


def test_halves_and_contradictions_are_refused(edge: Edge, tmp_path: Path) -> None:
    there = tokens(tmp_path, "x" * 20)
    for wrong in (
        replace(edge, certificate=there),
        replace(edge, tokens=there, passwords=there),
        replace(edge, passwords=tmp_path / "absent"),
        replace(edge, folder=Path('/tmp/a"b')),
        replace(edge, base=Path("/tmp/$bucket")),
    ):
        with pytest.raises(EdgeError):
            render(wrong)


@pytest.mark.skipif(find_nginx() is None, reason="there is no nginx on this machine")
def test_only_its_owner_reads_the_tokens(edge: Edge, tmp_path: Path) -> None:
    path = write_configuration(replace(edge, tokens=tokens(tmp_path, "x" * 20)))
    assert path.parent.stat().st_mode & 0o077 == 0
    shown = subprocess.run(["grep", "-c", "x" * 20, path], capture_output=True, text=True)
    assert shown.stdout == "1\n"
