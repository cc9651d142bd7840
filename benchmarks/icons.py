"""A data set that nobody here drew: the icons of a Debian theme, their folders being the classes.

    python -m benchmarks.icons [--network cnn residual] [--output FILE.md]

Fetches oxygen-icon-theme (LGPL-3+) with `apt-get download`, which needs no root, and lays its
48x48 PNGs out in a folder per context. Then as a reader of the README would: `data prepare`, a
run, `serve`, and `predict` for every test picture. `benchmarks.icons_keras`, what one would write
in Keras for the same folders, is run beside it.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from data.sources import AptSource
from pipeline.code_revision import code_revision
from pipeline.settings.paths import ROOT
from serving.launch.base import free_ports

PACKAGE = "oxygen-icon-theme"
LICENCE = "LGPL-3+"
_ICONS = Path("usr/share/icons/oxygen/base/48x48")
# A context of fewer would have a handful of test pictures.
_FEWEST = 40
_SERVER_SECONDS = 120.0
# Some contexts have ten test pictures: their recall is noise.
_ANY_RECALL = ("--set", "evaluation.min_class_recall=0.0")

Measured = dict[str, tuple[float, float]]


def main() -> None:
    """Measures everything and prints the report; writes it to --output if given."""
    arguments = _arguments()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        contexts = lay_out(folder / "icons")
        prepared = prepare(folder / "icons", folder / "prepared")
        measured = {
            f"pipeline, {network}": by_the_pipeline(folder / "prepared", network)
            for network in arguments.network
        }
        measured["plain Keras script"] = by_a_script(folder / "prepared")
        test = count(folder / "prepared" / "base" / "test")
    lines = list(report(load_before, contexts, prepared, test, measured))
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def lay_out(target: Path) -> Counter[str]:
    """Writes a folder of PNGs per context; returns how many pictures each has."""
    with tempfile.TemporaryDirectory(prefix="apt-") as folder:
        for context in (AptSource(PACKAGE).unpack(Path(folder)) / _ICONS).iterdir():
            # Links are second names of the same pictures.
            icons = [icon for icon in context.glob("*.png") if not icon.is_symlink()]
            if len(icons) >= _FEWEST:
                (target / context.name).mkdir(parents=True)
                for icon in icons:
                    shutil.copy(icon, target / context.name)
    return count(target)


def count(folder: Path) -> Counter[str]:
    """Returns how many pictures each class folder has."""
    return Counter(path.parent.name for path in folder.glob("*/*.png"))


def prepare(icons: Path, output: Path) -> str:
    """Lays the icons out for the pipeline; returns what it says of them."""
    command = ["data", "prepare", str(icons), "--output", str(output), "--allow-duplicates"]
    return _runner(*command, "--image-size", "48", "--color", "rgb").stdout.partition("\n")[0]


def by_the_pipeline(prepared: Path, network: str) -> tuple[float, float]:
    """Runs, serves and asks; returns the share of right answers, and the seconds of the run.

    Raises:
        RuntimeError: the served model answers otherwise than it was evaluated.
    """
    settings = ["--config", str(prepared / "settings.toml"), "--set", f"training.network={network}"]
    began = time.monotonic()
    run = _runner(
        *settings, *_ANY_RECALL, "--no-baseline", "--model-server", "embedded", "--json", "--force"
    )
    seconds = time.monotonic() - began
    evaluated = json.loads(run.stdout)["accuracy"]
    answered = _served_accuracy(settings, prepared)
    if abs(evaluated - answered) > 1e-6:
        raise RuntimeError(
            f"evaluated {evaluated:.4f}, but {answered:.4f} of the answers are right"
        )
    return answered, seconds


def _served_accuracy(settings: list[str], prepared: Path) -> float:
    rest, grpc = free_ports(2)
    name = tomllib.loads((prepared / "settings.toml").read_text())["serving"]["model_name"]
    command = [sys.executable, "runner.py", "serve", *settings, "--model-server", "embedded"]
    ports = ["--rest-port", str(rest), "--grpc-port", str(grpc)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen([*command, *ports], cwd=ROOT, stdout=log, stderr=log)
        try:
            _wait_for(f"http://localhost:{rest}/v1/models/{name}")
            test = str(prepared / "base" / "test")
            asked = _runner("predict", *settings, "--server", f"localhost:{rest}", test, "--json")
        finally:
            server.terminate()
            server.wait()
    answers = json.loads(asked.stdout)["predictions"]
    right = [Path(answer["file"]).parent.name == _best(answer) for answer in answers]
    return sum(right) / len(right)


def _best(answer: dict[str, Any]) -> str:
    return str(answer["labels"][0]["label"])


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + _SERVER_SECONDS
    while time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{url} does not answer")


def by_a_script(prepared: Path) -> tuple[float, float]:
    """Runs the plain script on the same files; returns its accuracy and its seconds."""
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.icons_keras", str(prepared / "base")]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.monotonic() - began
    return float(json.loads(done.stdout.splitlines()[-1])["accuracy"]), seconds


def report(
    load: float, contexts: Counter[str], prepared: str, test: Counter[str], measured: Measured
) -> Iterator[str]:
    """The report as lines of Markdown."""
    guessed = max(test.values()) / test.total()
    yield "# The icons of a Debian theme"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}, {os.cpu_count()} "
        f"cores ({platform.machine()}), load average before {load:.1f}. "
        f"`python -m benchmarks.icons`: {contexts.total()} icons of 48x48 pixels from {PACKAGE} "
        f"({LICENCE}), which is fetched and not part of this repository; the class is the folder: "
        f"{', '.join(f'{name} {number}' for name, number in sorted(contexts.items()))}."
    )
    yield ""
    yield f"`data prepare`: {prepared.partition(', are in')[0]}."
    yield ""
    yield "|  | right of the test icons | s, all included |"
    yield "|---|---|---|"
    for name, (accuracy, seconds) in measured.items():
        yield f"| {name} | {accuracy:.3f} | {seconds:.0f} |"
    yield f"| the largest class | {guessed:.3f} | |"
    yield ""
    yield (
        "The pipeline's figure is that of the answers of a served model to `predict`, and equals "
        f"Evaluator's. With {test.total()} test icons, chance alone moves a figure by "
        f"{2 * (guessed * (1 - guessed) / test.total()) ** 0.5:.3f} (two standard errors)."
    )


def _runner(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "runner.py", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--network", nargs="+", default=["cnn", "residual"])
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    return parser.parse_args()


if __name__ == "__main__":
    main()
