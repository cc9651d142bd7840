"""HTTP to a model server: pooled connections, TLS, proxies, one time limit, one kind of error.

Whatever asks a server over REST asks through this.
"""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    HTTPError,
    LocationValueError,
    NewConnectionError,
    SSLError,
)
from urllib3.exceptions import TimeoutError as HttpTimeoutError

from serving.addresses import is_loopback
from serving.client.errors import ClientError, InvalidRequestError, client_error
from serving.client.tls import TlsOptions, read_pem
from serving.status import Code

_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    412: Code.FAILED_PRECONDITION,
    413: Code.RESOURCE_EXHAUSTED,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    501: Code.UNIMPLEMENTED,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_CHUNK_BYTES = 1 << 16
_MOST_BYTES = 1 << 28


def ask(url: str, seconds: float, body: bytes | None = None) -> Any:
    """Asks a server once, with POST if there is a body; see `RestTransport.request`."""
    transport = RestTransport(url, None, connections=1)
    try:
        return transport.request("GET" if body is None else "POST", url, body, seconds)
    finally:
        transport.close()


class RestTransport:
    """Sends requests to one server. May be used by several threads at once."""

    def __init__(self, url: str, tls: TlsOptions | None, connections: int) -> None:
        """Makes the pool; nothing is sent yet.

        Args:
            url: `http://` or `https://`, host and port.
            tls: for `https://`.
            connections: that are kept open; more threads than that make further ones.

        Raises:
            InvalidRequestError: the URL or the TLS options cannot be used.
        """
        try:
            parts = urlsplit(url)
        except ValueError as error:
            raise _invalid(f"{url} is not an address: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise _invalid(f"{url} is not an address such as http://localhost:8501")
        if tls is not None and parts.scheme == "http":
            raise _invalid(f"TLS options need an address with https://, not {url}")
        options: dict[str, Any] = {"maxsize": connections, "num_pools": 1}
        if parts.scheme == "https":
            options["ssl_context"] = _ssl_context(tls or TlsOptions())
            if tls is not None and tls.server_name:
                options["server_hostname"] = options["assert_hostname"] = tls.server_name
        self._pool = _pool(url, parts.hostname, options)
        self._pool.pool_classes_by_scheme = _POOLS

    def request(self, method: str, url: str, body: bytes | None, seconds: float) -> Any:
        """Returns the JSON of an answer with status 200.

        Raises:
            ClientError: there was no answer within the seconds, or another one.
        """
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
                timeout=urllib3.Timeout(total=max(seconds, 0.001)),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            content = _content(response, url)
        except NewConnectionError as error:
            raise client_error(Code.UNAVAILABLE, f"cannot reach {url}: {error}") from error
        except (HttpTimeoutError, TimeoutError) as error:
            raise client_error(
                Code.DEADLINE_EXCEEDED, f"no answer from {url} within {seconds:g} s"
            ) from error
        except SSLError as error:
            raise client_error(Code.UNAUTHENTICATED, f"no TLS with {url}: {error}") from error
        except (LocationValueError, ValueError) as error:
            raise _invalid(f"{url}: {error}") from error
        except (HTTPError, OSError) as error:
            raise client_error(Code.UNAVAILABLE, f"cannot reach {url}: {error}") from error
        if response.status != 200:
            raise _answered_error(url, response.status, content)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise client_error(
                Code.INTERNAL,
                f"{url} answered, but not with JSON: {error}",
                of_model_server=False,
            ) from error

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()


class _TimelyResponse(http.client.HTTPResponse):
    """An answer that must be there, to its last byte, in the time that its first byte was given.

    The time limit of a socket is for each read: a server that sends byte by byte outlasts it.
    """

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimelyReader(sock, self.fp.detach()))


class _TimelyReader(io.RawIOBase):
    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connection(HTTPConnection):
    response_class = _TimelyResponse


class _SecureConnection(HTTPSConnection):
    response_class = _TimelyResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


def _content(response: urllib3.BaseHTTPResponse, url: str) -> bytes:
    content = bytearray()
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > _MOST_BYTES:
                most = f"{url} answered with more than {_MOST_BYTES >> 20} MB"
                raise client_error(Code.INTERNAL, most, of_model_server=False)
    except BaseException:
        response.close()
        raise
    response.release_conn()
    return bytes(content)


def _answered_error(url: str, status: int, content: bytes) -> ClientError:
    code = _CODES.get(status, Code.INTERNAL)
    try:
        return client_error(code, str(json.loads(content)["error"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        # A model server says why: this is a proxy's page, or another server's.
        return client_error(code, f"HTTP {status} from {url}", of_model_server=False)


def _ssl_context(tls: TlsOptions) -> ssl.SSLContext:
    read_pem(tls.ca_file)
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ValueError) as error:
        raise _invalid(f"the TLS files cannot be used: {error}") from error
    return context


def _pool(url: str, host: str, options: dict[str, Any]) -> urllib3.PoolManager:
    """Goes through the proxy that the environment names, but never to loopback."""
    proxies = {} if is_loopback(host) else urllib.request.getproxies()
    proxy = proxies.get(urlsplit(url).scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return urllib3.PoolManager(**options)
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        # Percent signs stand for bytes, and Latin-1, in which they are sent, has all of them.
        name, password = (
            unquote(part or "", "latin-1") for part in (parts.username, parts.password)
        )
        headers = urllib3.make_headers(proxy_basic_auth=f"{name}:{password}") if name else None
        return urllib3.ProxyManager(parts.geturl(), proxy_headers=headers, **options)
    except (HTTPError, ValueError) as error:
        raise _invalid(f"the proxy {proxy} cannot be used: {error}") from error


def _invalid(message: str) -> InvalidRequestError:
    return InvalidRequestError(Code.INVALID_ARGUMENT, message)
