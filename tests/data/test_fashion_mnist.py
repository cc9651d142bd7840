"""Obtaining the official files: sources, verification, interruption."""

import gzip
import hashlib
import http.server
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from data.fashion_mnist import DatasetError, OfficialFile, obtain
from data.sources import AptSource, FolderSource, SourceError, UrlSource

CONTENT = {"a.gz": b"first" * 1000, "b.gz": b"second" * 1000}


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What somebody who looks on is told."""
    caplog.set_level(logging.INFO, logger="data")
    return lambda: caplog.messages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    for name, content in CONTENT.items():
        (folder / name).write_bytes(gzip.compress(content, mtime=1))
    return folder


@pytest.fixture
def files(folder: Path) -> list[OfficialFile]:
    return [
        OfficialFile(
            name,
            hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            hashlib.sha256(content).hexdigest(),
        )
        for name, content in CONTENT.items()
    ]


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    handler = partial(RangeHandler, directory=str(folder))
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    httpd.server_close()


class RangeHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and honours open-ended byte ranges, as the public servers do."""

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        if not wanted:
            return super().do_GET()
        content = Path(self.translate_path(self.path)).read_bytes()
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(content):
            return self.send_error(416)
        self.send_response(206)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])
        return None

    def log_message(self, *args: object) -> None:
        pass


def test_the_first_source_that_works_serves_and_is_named(tmp_path, folder, files, lines):
    sources = [FolderSource(tmp_path / "absent", "nowhere"), FolderSource(folder, "somewhere")]
    done = obtain(tmp_path / "base", files=files, sources=sources)
    assert done.sources == ("somewhere",)
    for name in CONTENT:
        assert (done.folder / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(path.name for path in done.folder.iterdir()) == sorted(CONTENT)
    assert any("there is no folder" in line for line in lines())


def test_files_that_are_there_and_genuine_are_not_fetched_again(tmp_path, folder, files):
    sources = [FolderSource(folder, "somewhere")]
    obtain(tmp_path / "base", files=files, sources=sources)
    assert obtain(tmp_path / "base", files=files, sources=[]).sources == ()


def test_a_file_gzipped_by_somebody_else_is_genuine(tmp_path, folder, files):
    (folder / "a.gz").write_bytes(gzip.compress(CONTENT["a.gz"], compresslevel=1, mtime=7))
    sources = [FolderSource(folder, "somewhere")]
    assert obtain(tmp_path / "o", files=files, sources=sources).sources


def test_a_corrupt_file_is_refused_by_name_and_fetched_from_the_next_source(
    tmp_path, folder, files, lines
):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.gz").write_bytes((folder / "a.gz").read_bytes())
    (broken / "b.gz").write_bytes(b"not it")
    sources = [FolderSource(broken, "broken"), FolderSource(folder, "whole")]
    done = obtain(tmp_path / "base", files=files, sources=sources)
    assert done.sources == ("broken", "whole")
    assert any("b.gz is corrupt" in line for line in lines())


def test_a_file_that_is_not_the_official_one_is_fetched_again_and_kept(
    tmp_path, folder, files, lines
):
    sources = [FolderSource(folder, "somewhere")]
    destination = tmp_path / "base"
    obtain(destination, files=files, sources=sources)
    (destination / "b.gz").write_bytes(b"rotten")
    obtain(destination, files=files, sources=sources)
    assert (destination / "b.gz").read_bytes() == (folder / "b.gz").read_bytes()
    assert any("b.gz is corrupt" in line for line in lines())
    # It may have been the only copy of somebody's own data.
    assert (destination / "b.gz.unreadable").read_bytes() == b"rotten"
    assert sorted(path.name for path in destination.iterdir()) == [
        "a.gz",
        "b.gz",
        "b.gz.unreadable",
    ]


def test_when_nothing_serves_every_reason_is_given(tmp_path, files):
    sources = [FolderSource(tmp_path / "one", "first"), FolderSource(tmp_path / "two", "second")]
    with pytest.raises(DatasetError, match=r"a\.gz, b\.gz.*first: .*second: .*--from"):
        obtain(tmp_path / "base", files=files, sources=sources)


def test_an_interrupted_download_is_resumed(tmp_path, folder, files, server, lines):
    staging = tmp_path / "base" / ".fetching"
    staging.mkdir(parents=True)
    half = (folder / "a.gz").read_bytes()[:20]
    (staging / "a.gz.part").write_bytes(half)
    obtain(tmp_path / "base", files=files, sources=[UrlSource(server)])
    assert any("a.gz" in line and "resumed at 20 bytes" in line for line in lines())
    assert not staging.exists()


def test_a_part_that_is_longer_than_the_file_is_fetched_from_the_start(tmp_path, files, server):
    staging = tmp_path / "base" / ".fetching"
    staging.mkdir(parents=True)
    (staging / "a.gz.part").write_bytes(b"x" * 10_000)
    done = obtain(tmp_path / "base", files=files, sources=[UrlSource(server)])
    assert done.sources == (server,)


def test_a_server_without_the_file_or_without_an_answer_is_a_stated_reason(tmp_path, server):
    with pytest.raises(SourceError, match="404"):
        UrlSource(server).deliver(["absent.gz"], tmp_path)
    with pytest.raises(SourceError, match="connection failed"):
        UrlSource("http://127.0.0.1:9").deliver(["a.gz"], tmp_path)


def test_apt_works_on_lists_of_its_own(tmp_path, monkeypatch, lines):
    _fake_tool(
        tmp_path / "bin" / "apt-get", 'echo "$@" >> ../calls\n[ "$1" ] && touch P_1_all.deb\n'
    )
    _fake_tool(
        tmp_path / "bin" / "dpkg-deb",
        'mkdir -p "$3/usr/share/datasets/fashion-mnist"\n'
        'echo hello > "$3/usr/share/datasets/fashion-mnist/a.gz"\n',
    )
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    AptSource("P").deliver(["a.gz"], tmp_path)
    assert (tmp_path / "a.gz").read_text() == "hello\n"
    update, download = (tmp_path / "calls").read_text().splitlines()
    for call in (update, download):
        assert f"Dir::State::Lists={tmp_path}/apt-" in call
        assert f"Dir::Cache={tmp_path}/apt-" in call
    assert not list(tmp_path.glob("apt-*"))
    assert download.endswith("download P")


def test_apt_that_does_not_know_the_package_says_so(tmp_path, monkeypatch):
    _fake_tool(tmp_path / "bin" / "apt-get", 'echo "E: Unable to locate package P" >&2\nexit 100\n')
    _fake_tool(tmp_path / "bin" / "dpkg-deb", "exit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(SourceError, match="Unable to locate package P"):
        AptSource("P").deliver(["a.gz"], tmp_path)


def _fake_tool(path: Path, script: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
