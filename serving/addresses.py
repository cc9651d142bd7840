"""Addresses of servers: IPv4 and IPv6 literals, where a listener is reached, what is local."""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.parse import urlsplit

_LISTENS_ON_ALL = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def base_url(server: str) -> str:
    """Returns a server's address with its scheme (`http` if none), without a slash at the end."""
    return (server if "://" in server else f"http://{server}").rstrip("/")


def join_host_port(host: str, port: int) -> str:
    """Returns `host:port`, an IPv6 literal in brackets."""
    bare = bare_host(host)
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def bare_host(host: str) -> str:
    """Returns a host without the brackets of an IPv6 literal."""
    return host.removeprefix("[").removesuffix("]")


def reachable_host(listens_on: str) -> str:
    """Returns where a server is asked that listens there: on loopback, if that is everywhere."""
    host = bare_host(listens_on)
    return _LISTENS_ON_ALL.get(host, host)


def is_loopback(address: str) -> bool:
    """Whether a host, `host:port` or URL names this machine's loopback interface."""
    rest = address.rpartition("://")[2]
    # A bare IPv6 address would be read as a host with a port.
    for host in (rest, _host_of(rest)):
        with suppress(ValueError):
            found = ipaddress.ip_address(host)
            return (getattr(found, "ipv4_mapped", None) or found).is_loopback
    return _host_of(rest) == "localhost" or _host_of(rest).endswith(".localhost")


def _host_of(address: str) -> str:
    try:
        return urlsplit(f"//{address}").hostname or ""
    except ValueError:
        return ""
