"""Addresses as people write them, IPv4, IPv6 and names."""

import pytest

from serving.addresses import base_url, is_loopback, join_host_port, reachable_host


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *[(a, True) for a in ("127.0.0.1", "127.9.9.9:80", "localhost", "LOCALHOST:1", "::1")],
        *[(a, True) for a in ("[::1]:8501", "http://[::1]:8501/v1", "https://127.0.0.1")],
        *[(a, True) for a in ("::ffff:127.0.0.1", "a.localhost:1", "http://u:p@localhost:1/x")],
        *[(a, False) for a in ("10.0.0.1:8501", "0.0.0.0", "::", "example.org", "[fe80::1]:1")],
        *[(a, False) for a in ("", "127.0.0.1.example.org", "http://[broken", "localhost.evil")],
    ],
)
def test_what_is_loopback(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("listens_on", "reached_at"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "::1"),
        ("[::]", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.2", "127.0.0.2"),
        ("192.168.7.4", "192.168.7.4"),
    ],
)
def test_a_server_is_reached_where_it_listens(listens_on: str, reached_at: str) -> None:
    assert reachable_host(listens_on) == reached_at


def test_ipv6_literals_get_brackets() -> None:
    assert join_host_port("::1", 8501) == "[::1]:8501"
    assert join_host_port("[::1]", 8501) == "[::1]:8501"
    assert join_host_port("127.0.0.1", 8501) == "127.0.0.1:8501"


def test_an_address_without_a_scheme_is_http() -> None:
    assert base_url("localhost:8501/") == "http://localhost:8501"
    assert base_url("https://h") == "https://h"
