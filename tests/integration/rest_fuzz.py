"""Makes REST requests that are random, broken or hostile, and sends them over a socket."""

import base64
import gzip
import json
import random
import socket
from typing import Any

_SIGNATURES = {
    "half_plus": ["", "serving_default", "regress", "classify", "nope"],
    "shapes": ["", "blob", "scalar", "special", "kinds", "reduce", "checked"],
    "fashion": ["", "serving_default", "predict_images", "predict_bytes"],
    "nope": [""],
}
_NUMBERS = [
    *(0, 1, -1, 255, 256, -128, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, 10**30),
    *(0.0, -0.0, 1.5, 1e-300, 1e38, 1e39, 1e308, float("nan"), float("inf"), float("-inf")),
]
_RAW_NUMBERS = ["1e309", "1e99999", "-1e-99999", "01", "1.", ".5", "+1", "0x10", "1e", "- 1", "1_0"]


class RestFuzzer:
    """Requests from a seed; `exchanges` are recorded ones to start mutations from."""

    def __init__(self, seed: int, exchanges: list[dict[str, Any]]) -> None:
        self._random = random.Random(seed)
        self._exchanges = [item for item in exchanges if item["body"]]
        self._answered = [item for item in self._exchanges if item["status"] == 200]
        self._image = base64.b64decode(
            json.loads(
                next(item["body"] for item in exchanges if item["id"] == "rest_fashion_png")
            )["examples"][0]["image"]["b64"]
        )

    def request(self) -> bytes:
        """The next request, as it goes over the wire."""
        make = self._random.choice(
            [self._random_body, self._random_body, self._mutated_exchange, self._random_path]
        )
        return make()

    def send(self, address: tuple[str, int], request: bytes) -> int:
        """Sends a request on a connection of its own; returns the status of the answer."""
        with socket.create_connection(address, timeout=60) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answer.startswith(b"HTTP/1."), f"{answer[:200]!r} to {request[:500]!r}"
        return int(answer.split(b" ", 2)[1])

    def _http(
        self, method: str, path: str | bytes, body: bytes, headers: dict[str, str] | None = None
    ) -> bytes:
        target = path if isinstance(path, bytes) else path.encode()
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        head = "\r\n".join(["Host: localhost", f"Content-Length: {len(body)}", *lines, "", ""])
        return b"%s %s HTTP/1.1\r\n%s%s" % (method.encode(), target, head.encode(), body)

    def _random_path(self) -> bytes:
        pick = self._random.choice
        parts = [
            *(
                "/v1",
                "/v1/models",
                "/half_plus",
                "/versions",
                "/labels",
                "/1",
                "/stable",
                "/metadata",
            ),
            *(":predict", ":classify", ":regress", ":", "/", "//", "..", "%2F", "%", "%00", "?a=b"),
            *("#x", "é", "a" * 5000, "/99999999999999999999", "*", "[", "\\", "\t"),
        ]
        path = "".join(pick(parts) for _ in range(self._random.randrange(1, 6)))
        if self._random.random() < 0.7:
            path = "/v1/models" + path
        method = pick(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "FOO"])
        return self._http(method, path, pick([b"", b"{}", b'{"instances": [1.0]}']))

    def _random_body(self) -> bytes:
        pick = self._random.choice
        model = pick(list(_SIGNATURES))
        verb = pick(["predict", "predict", "classify", "regress"])
        where = pick(["", "", "", "/versions/1", "/labels/stable", "/labels/nope"])
        body: dict[str, Any] = {}
        if self._random.random() < 0.5:
            body["signature_name"] = pick(_SIGNATURES[model])
        keys = ["instances", "inputs"] if verb == "predict" else ["examples", "context"]
        for key in keys[: 1 + (self._random.random() < 0.1)]:
            body[pick([*keys, key, key])] = self._value(self._random.randrange(5))
        text = json.dumps(body, ensure_ascii=self._random.random() < 0.5)
        raw = text.replace('"RAW"', pick(_RAW_NUMBERS)).encode("utf-8", "surrogatepass")
        return self._post(f"/v1/models/{model}{where}:{verb}", raw)

    def _mutated_exchange(self) -> bytes:
        worked = self._random.random() < 0.8
        exchange = self._random.choice(self._answered if worked else self._exchanges)
        raw = bytearray(exchange["body"].encode())
        for _ in range(self._random.choice([0, 1, 1, 1, 2, 8])):
            at = self._random.randrange(len(raw) + 1)
            change = self._random.randrange(6)
            if change == 0:
                raw[at : at + 1] = bytes([self._random.randrange(256)])
            elif change == 5:
                # Mostly within a number or a base64 text, so that the body stays JSON.
                raw[at : at + 1] = bytes([self._random.choice(b"0123456789AZaz+/=.-")])
            elif change == 1:
                del raw[at : at + self._random.choice([1, 10, 1000])]
            elif change == 2:
                raw[at:at] = self._random.choice([b"[", b"{", b'"', b"]", b"}", b",", b":", b"\0"])
            elif change == 3:
                raw[at:at] = raw[: self._random.randrange(50)]
            else:
                raw[at:at] = self._random.choice([b"[" * 3000, b'{"a":' * 3000, b"9" * 500])
        return self._post(exchange["path"], bytes(raw))

    def _post(self, path: str, body: bytes) -> bytes:
        headers = {"Content-Type": self._random.choice(["application/json", "text/plain", "é"])}
        if self._random.random() < 0.1:
            body = gzip.compress(body, compresslevel=1)
            if self._random.random() < 0.5:
                body = body[: self._random.randrange(len(body))]
            headers["Content-Encoding"] = self._random.choice(["gzip", "x-gzip", "deflate"])
        if self._random.random() < 0.05:
            headers["Expect"] = self._random.choice(["100-continue", "200-ok"])
        return self._http("POST", path, body, headers)

    def _value(self, depth: int) -> Any:
        pick = self._random.choice
        kind = self._random.random()
        if depth and kind < 0.5:
            return [self._value(depth - 1) for _ in range(self._random.randrange(4))]
        if depth and kind < 0.7:
            names = [
                "x",
                "a",
                "b",
                "v",
                "i",
                "f",
                "d",
                "u",
                "image",
                "image_bytes",
                "images",
                "b64",
            ]
            return {name: self._value(depth - 1) for name in self._random.sample(names, 2)}
        if kind < 0.8:
            return {"b64": self._base64()}
        return pick([pick(_NUMBERS), pick(_NUMBERS), "RAW", None, True, False, "text", "é\ud800"])

    def _base64(self) -> Any:
        image = bytearray(self._image)
        change = self._random.randrange(5)
        if change == 0:
            image[self._random.randrange(len(image))] ^= 1 << self._random.randrange(8)
        elif change == 1:
            image = image[: self._random.randrange(len(image))]
        elif change == 2:
            image = bytearray(self._random.randbytes(self._random.randrange(200)))
        elif change == 3:
            return self._random.choice(["!!", "YQ", "Y", "", "YQ==YQ==", 5, None])
        return base64.b64encode(image).decode()
