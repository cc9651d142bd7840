"""Who may ask at a real nginx, how much at once, and what is renewed while it runs."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import pytest
import requests

from serving.edge.rotated_log import before
from tests.integration.conftest import few_files
from tests.integration.edge_backend import Backend, Front, backend_running, edge_before
from tests.integration.edge_stage import NGINX, wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine"),
]

TOKENS = ("k4Jb8sQ2mN7xV1zT", "another-token-of-22-letters")


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with backend_running() as backend:
        yield backend


Start = Callable[..., AbstractContextManager[Front]]


@pytest.fixture
def start(backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts an edge in front of the backend for the length of a `with` block."""
    monkeypatch.setattr("serving.edge.running._LOOK_SECONDS", 0.1)
    return partial(edge_before, backend, tmp_path)


def certify(folder: Path) -> tuple[Path, Path]:
    """Writes a new certificate of this machine and its key."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    command += f" -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key}"
    subprocess.run([*command.split(), "-out", certificate], check=True, capture_output=True)
    return certificate, key


def htpasswd(path: Path, name: str, password: str) -> None:
    command = ["openssl", "passwd", "-apr1", password]
    hashed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    path.write_text(f"{name}:{hashed}")


def test_tokens_are_asked_for_and_do_not_reach_the_server(start: Start, tmp_path: Path) -> None:
    certificate, key = certify(tmp_path)
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{TOKENS[0]}\n")
    with start(certificate=certificate, key=key, tokens=tokens) as front:
        answer = front.ask(headers={"Authorization": f"Bearer {TOKENS[0]}"})
        assert (answer.status_code, answer.headers["X-Seen"]) == (200, "nothing")
        assert front.bearing(TOKENS[0].lower()) == 401
        assert front.bearing(TOKENS[0] + "x") == 401
        tokens.write_text(f"{TOKENS[1]}\n")
        wait_until(lambda: front.bearing(TOKENS[1]) == 200)
        # A worker of before may take one more connection.
        wait_until(lambda: front.bearing(TOKENS[0]) == 401)


def test_passwords_are_asked_for_and_a_broken_file_of_them_changes_nothing(
    start: Start, tmp_path: Path
) -> None:
    passwords = tmp_path / ".htpasswd"
    htpasswd(passwords, "ann", "one")
    with start(passwords=passwords) as front:
        answer = front.ask(auth=("ann", "one"))
        assert (answer.status_code, answer.headers["X-Seen"]) == (200, "nothing")
        assert front.ask(auth=("ann", "two")).status_code == 401
        assert front.ask().status_code == 401
        for broken in (lambda: passwords.write_text("no password\n"), passwords.unlink):
            front.said.truncate(0)
            broken()
            wait_until(lambda: "stays in force" in front.said.getvalue())
            assert front.ask(auth=("ann", "one")).status_code == 200
        htpasswd(passwords, "ann", "two")
        wait_until(lambda: front.ask(auth=("ann", "two")).status_code == 200)
        wait_until(lambda: front.ask(auth=("ann", "one")).status_code == 401)


def test_a_certificate_is_renewed_while_requests_are_answered_and_a_broken_one_is_not_taken(
    start: Start, tmp_path: Path
) -> None:
    certificate, key = certify(tmp_path)
    with start(certificate=certificate, key=key) as front:

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", front.edge.port))

        first = shown()
        assert ssl.PEM_cert_to_DER_cert(first) == ssl.PEM_cert_to_DER_cert(certificate.read_text())
        key.write_text("no key")
        wait_until(lambda: "stays in force" in front.said.getvalue())
        [line] = front.said.getvalue().splitlines()
        assert str(key) in line
        assert shown() == first
        failures, stopping = [], threading.Event()

        def keep_asking() -> None:
            while not stopping.is_set():
                try:
                    answer = requests.post(front.edge.url + "/v1/x", data="{}", verify=False)
                    assert answer.status_code == 200
                except (requests.RequestException, AssertionError) as error:
                    failures.append(repr(error))

        asking = threading.Thread(target=keep_asking)
        asking.start()
        try:
            certify(tmp_path)
            renewed = ssl.PEM_cert_to_DER_cert(certificate.read_text())
            wait_until(lambda: ssl.PEM_cert_to_DER_cert(shown()) == renewed)
        finally:
            stopping.set()
            asking.join()
        assert failures == []


def test_what_was_in_force_is_in_force_when_nginx_is_started_again(
    start: Start, tmp_path: Path
) -> None:
    certificate, key = certify(tmp_path)
    with start(certificate=certificate, key=key) as front:
        first = ssl.get_server_certificate(("127.0.0.1", front.edge.port))
        certificate.write_text("no certificate")
        wait_until(lambda: "stays in force" in front.said.getvalue())
        pid = (front.edge.folder / "nginx.pid").read_text().strip()
        subprocess.run(["kill", pid], check=True)
        wait_until(lambda: "starting it again" in front.said.getvalue())

        def is_back() -> bool:
            try:
                return ssl.get_server_certificate(("127.0.0.1", front.edge.port)) == first
            except OSError:
                return False

        wait_until(is_back)


def test_an_address_has_so_many_requests_a_second(start: Start) -> None:
    with start(requests_per_second=1, burst=5) as front:
        assert {front.ask().status_code for _ in range(12)} == {200, 429}


def test_an_address_has_so_many_requests_answered_at_once(start: Start, backend: Backend) -> None:
    with start(connections_per_address=3) as front, ThreadPoolExecutor(8) as pool:
        backend.may_answer.clear()
        try:
            waiting = [pool.submit(front.ask) for _ in range(3)]
            wait_until(lambda: backend.waiting == 3)
            assert [front.ask().status_code for _ in range(2)] == [429, 429]
        finally:
            backend.may_answer.set()
        assert [each.result().status_code for each in waiting] == [200, 200, 200]
        assert front.ask().status_code == 200


def test_connections_that_lie_idle_keep_nobody_out(start: Start) -> None:
    with ExitStack() as stack:
        with few_files(256):
            front = stack.enter_context(start())
        address = ("127.0.0.1", front.edge.port)
        for _ in range(700):
            stack.enter_context(socket.create_connection(address, timeout=10))
        assert front.ask().status_code == 200


def test_what_nginx_says_of_requests_does_not_grow_for_ever(start: Start) -> None:
    with start(max_log_bytes=2_000) as front:
        logs = (front.edge.access_log, front.edge.error_log)

        def are_begun_anew() -> bool:
            # Too large for memory: nginx says where it keeps the body.
            front.ask("0" * 20_000)
            return all(log.exists() and before(log).exists() for log in logs)

        wait_until(are_begun_anew, 20)
