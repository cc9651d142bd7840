"""`runner.py serve --edge` on tiny models, and clients that keep asking."""

import base64
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import tensorflow as tf

from serving.edge.canary import Trial
from serving.edge.nginx import find_nginx
from serving.edge.values import Edge
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.store import VersionStore
from tests.conftest import ROOT
from tests.integration.conftest import free_port
from tests.tiny_models import GreyClassifier, grey_examples, save

MODEL = "grey"
NGINX = find_nginx()

Spoil = Callable[[tf.Tensor], tf.Tensor]


def bodies(count: int = 10) -> list[str]:
    """Classify requests, the shades in turn."""
    images = [
        tf.train.Example.FromString(example).features.feature["image"].bytes_list.value[0]
        for example in grey_examples(count)
    ]
    return [
        json.dumps(
            {
                "signature_name": "classify",
                "examples": [{"image": {"b64": base64.b64encode(image).decode()}}],
            }
        )
        for image in images
    ]


@dataclass
class Stage:
    """A workdir with pushed models and, while it runs, a server with an edge in front of it."""

    workdir: Path
    ports: dict[str, int] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    models_built: dict[Spoil, Path] = field(default_factory=dict)

    @property
    def store(self) -> VersionStore:
        return VersionStore(self.workdir / "serving" / MODEL)

    @property
    def trial(self) -> Trial:
        return Trial(self.store, MODEL, f"127.0.0.1:{self.ports['rest']}")

    @property
    def log(self) -> Path:
        return self.workdir / "edge" / "access.log"

    def url(self, verb: str = "classify", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.ports['edge']}/v1/models/{MODEL}:{verb}"

    def push(self, spoil: Spoil = tf.identity) -> int:
        """Pushes a model of its own bytes; returns its version."""
        if spoil not in self.models_built:
            folder = self.workdir / "models" / str(len(self.models_built))
            self.models_built[spoil] = save(GreyClassifier(spoil=spoil), folder)
        folder = self.models_built[spoil]
        (folder / "assets.extra").mkdir(exist_ok=True)
        (folder / "assets.extra" / "name").write_text(str(time.time_ns()))
        return publish(self.store, folder, Pushed()).version

    def edge(self, folder: Path, **values: Any) -> Edge:
        """Another edge in front of the running server."""
        return Edge(
            model_name=MODEL,
            base=Path(self.store.storage.base),
            rest=f"127.0.0.1:{self.ports['rest']}",
            grpc=f"127.0.0.1:{self.ports['grpc']}",
            folder=folder,
            port=free_port(),
            grpc_port=None,
            **values,
        )

    def start(self, *arguments: str) -> None:
        """Starts `runner.py serve --edge` on free ports; returns when it says what it serves."""
        names = ("grpc", "rest", "edge", "edge-grpc")
        self.ports = self.ports or {name: free_port() for name in names}
        command = [sys.executable, str(ROOT / "runner.py"), "serve", "--edge"]
        command += ["--workdir", str(self.workdir), "--set", f"serving.model_name={MODEL}"]
        command += ["--model-server", "embedded", *arguments]
        command += [f"--{name}-port={port}" for name, port in self.ports.items()]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        for line in self.process.stdout:
            if line.startswith("Ctrl-C"):
                return
        raise AssertionError(self.process.stderr.read())

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def models(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Runs `runner.py models ...` against the running server."""
        command = [sys.executable, str(ROOT / "runner.py"), "models", *map(str, arguments)]
        command += ["--workdir", str(self.workdir), "--set", f"serving.model_name={MODEL}"]
        command += ["--server", f"127.0.0.1:{self.ports['rest']}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)


@dataclass
class Answers:
    """What clients were answered."""

    variants: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    labels: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return self.variants.total()


@contextmanager
def clients(stage: Stage, count: int = 4, people: int = 1000) -> Iterator[Answers]:
    """Has clients ask without a pause while the block lasts, in the name of many people."""
    answers, stopping, lock = Answers(), threading.Event(), threading.Lock()
    # More of one shade than of the others, so that labels which are swapped are seen in shares.
    requests_ = bodies() + 10 * bodies(1)

    def ask(number: int) -> None:
        session, turn, dice = requests.Session(), number, random.Random(number)
        session.trust_env = False
        while not stopping.is_set():
            turn += count
            who = {"X-Client-Id": f"person-{turn % people}"}
            try:
                body = dice.choice(requests_)
                answer = session.post(stage.url(), data=body, headers=who, timeout=60)
                variant, text = answer.headers.get("X-Variant", ""), answer.text
                good = answer.status_code == 200
                best = answer.json()["results"][0][0][0] if good else ""
            except (requests.RequestException, ValueError, LookupError) as error:
                good, variant, text, best = False, "", repr(error), ""
            with lock:
                answers.variants[variant] += 1
                if good:
                    answers.labels.setdefault(variant, Counter())[best] += 1
                else:
                    answers.failures.append(text)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
