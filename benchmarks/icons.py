"""Icons of a Debian theme, in colour, from the package to predictions of a served model.

    python -m benchmarks.icons [--output FILE.md]

The package oxygen-icon-theme (LGPL-3+, 31 MB) is downloaded by apt-get, without root; its icons of
48x48 pixels are of six kinds, and nobody here drew them. They go through `data prepare`, a run,
`serve` and `predict`; a plain Keras script trains on the same files.
"""

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.sources import AptSource
from pipeline.code_revision import code_revision
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT

PACKAGE = "oxygen-icon-theme"
CLASSES = ("actions", "apps", "devices", "mimetypes", "places", "status")
_ICONS = Path("usr/share/icons/oxygen/base/48x48")
_SERVER_SECONDS = 180.0
# What kind a symbol is of is at times a matter of taste: half way to perfect is too much to ask.
_LIMITS = ("evaluation.min_accuracy=0.4", "evaluation.min_class_recall=0.05")


def main() -> None:
    """Goes the whole way and prints the report; writes it to --output if given."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        icons = fetch(folder)
        out = folder / "icons_by_kind"
        refused = runner("data", "prepare", str(icons), *_prepared(out))
        prepared = runner("data", "prepare", str(icons), *_prepared(out), "--allow-duplicates")
        settings = ["--config", prepared["settings"]]
        limits = [word for limit in _LIMITS for word in ("--set", limit)]
        run = runner("run", *settings, *limits, "--model-server", "embedded")
        with served(settings) as address:
            test = out / "base" / "test"
            answers = runner("predict", str(test), *settings, "--server", address, "--top", "1")
        plain = plain_keras(out, Path(prepared["settings"]))
    lines = list(report(refused, prepared, run, answers, plain))
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def fetch(folder: Path) -> Path:
    """Returns a folder with a folder of icons for each kind."""
    unpacked = AptSource(PACKAGE).unpack(folder)
    icons = folder / "icons"
    icons.mkdir()
    for kind in CLASSES:
        (icons / kind).symlink_to(unpacked / _ICONS / kind)
    return icons


def runner(*words: str) -> Any:
    """Runs `runner.py` and returns what it answers as JSON, whatever its exit code."""
    command = [sys.executable, str(ROOT / "runner.py"), *words, "--json"]
    process = subprocess.run(command, capture_output=True, text=True)
    if not process.stdout.strip():
        raise SystemExit(process.stderr[-3000:])
    return json.loads(process.stdout)


def _prepared(out: Path) -> list[str]:
    return ["--output", str(out), "--image-size", "48", "--color", "rgb"]


@contextmanager
def served(settings: list[str]) -> Iterator[str]:
    """Serves what was pushed for the length of a `with` block; gives the address of REST."""
    rest, grpc = _free_port(), _free_port()
    ports = ["--rest-port", str(rest), "--grpc-port", str(grpc)]
    command = [sys.executable, str(ROOT / "runner.py"), "serve", *settings, *ports]
    process = subprocess.Popen(
        [*command, "--model-server", "embedded"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(f"http://localhost:{rest}/v1/models/icons_by_kind", process)
        yield f"localhost:{rest}"
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _SERVER_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url) as answer:
                if b"AVAILABLE" in answer.read():
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.5)
    raise SystemExit("the server did not come up")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def plain_keras(root: Path, settings: Path) -> float:
    """Returns the test accuracy of what a Keras tutorial would do with the same files."""
    import keras
    from keras import layers

    training = load_config(file=settings).training
    train, test = (
        keras.utils.image_dataset_from_directory(
            root / "base" / part,
            class_names=list(CLASSES),
            image_size=(48, 48),
            batch_size=training.batch_size,
            shuffle=part == "train",
            seed=1,
        )
        for part in ("train", "test")
    )
    keras.utils.set_random_seed(1)
    model = keras.Sequential([layers.Input((48, 48, 3)), layers.Rescaling(1 / 255)])
    model.add(layers.RandomFlip("horizontal"))
    for filters in training.filters:
        model.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        model.add(layers.MaxPooling2D())
    model.add(layers.Flatten())
    model.add(layers.Dense(training.dense_units, activation="relu"))
    model.add(layers.Dropout(training.dropout))
    model.add(layers.Dense(len(CLASSES), activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(train, epochs=training.epochs, verbose=0)
    accuracy: float = model.evaluate(test, verbose=0)[1]
    return accuracy


def report(
    refused: dict[str, Any],
    prepared: dict[str, Any],
    run: dict[str, Any],
    answers: dict[str, Any],
    plain: float,
) -> Iterator[str]:
    """Yields the lines of the report, in Markdown."""
    found = answers["predictions"]
    right = sum(Path(one["file"]).parent.name == one["labels"][0]["label"] for one in found)
    yield "# Icons of six kinds, in colour, 48x48"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}, {os.cpu_count()} "
        f"cores ({platform.machine()}). `python -m benchmarks.icons`: Debian's package {PACKAGE} "
        f"(LGPL-3+), {prepared['train']} icons to train on and {prepared['test']} to test on."
    )
    yield ""
    yield f"Refused at first: {len(refused['files'])} icons that are in two classes, or nearly."
    yield f"Then, with `--allow-duplicates`: {' '.join(prepared['notes'])}"
    yield ""
    yield "| | test accuracy |"
    yield "|---|---|"
    yield f"| the run, by Evaluator ({run['status']}) | {run['accuracy']:.3f} |"
    yield f"| `predict` on the {len(found)} test files, served | {right / len(found):.3f} |"
    yield f"| plain Keras, the same files and layers, Adam, as many epochs | {plain:.3f} |"


if __name__ == "__main__":
    main()
