"""Time and memory of the nodes as the data grows: 1, 10 and 30 times the images.

    python -m benchmarks.growth [--base 60000] [--factors 1 10 30] [--pictures EDGE] [--output FILE]

The official images are repeated with noise, so that no two are equal, and go through ExampleGen,
statistics, validation, Transform, Trainer and Evaluator. The network is tiny and sees each image
once: how Trainer keeps and reads images is what grows with them. With --pictures, they are folders
of colour JPEGs of that many pixels an edge instead, which the network sees at that size. Every
factor is a process of its own; memory is its peak during the node, imports included, without the
pages of files on the disk, which the kernel takes back when it needs them.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data import idx
from data.fashion_mnist import obtain
from data.prepared_settings import batch_size
from pipeline.code_revision import code_revision
from pipeline.modeling.features import CLASS_LABELS
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT

OFFICIAL_TRAINING_IMAGES = 60_000
MEMORY_LIMIT_MEGABYTES = 4_000
_NOISE = 8
_SECONDS_BETWEEN_SAMPLES = 0.02
_MEASURED = ("IdxExampleGen", "StatisticsGen", "Transform", "Trainer", "Evaluator")
_TINY: dict[str, Any] = {"epochs": 1, "filters": (4, 4), "convolutions": 1, "dense_units": 0}

# By node: seconds, processor seconds, and megabytes at the peak.
Costs = dict[str, tuple[float, float, float]]


def main() -> None:
    """Measures every factor and prints the table; writes it to --output if given."""
    arguments = _arguments()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.pictures)))
        return
    load_before = os.getloadavg()[0]
    found: dict[int, Costs] = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        official = Path(folder) / "base"
        if not arguments.pictures:
            obtain(official, arguments.source)
        for factor in arguments.factors:
            workdir = Path(folder) / f"times-{factor}"
            if arguments.pictures:
                count = arguments.base * factor
                draw(workdir / "root" / "base", count, arguments.pictures)
            else:
                grow(official, workdir / "root" / "base", arguments.base, factor)
            found[factor] = _in_a_process(workdir, arguments.pictures)
            shutil.rmtree(workdir)
    lines = list(report(arguments, load_before, found))
    print("\n".join(lines))
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")


def grow(official: Path, target: Path, base: int, factor: int) -> None:
    """Writes `base` training images, and a sixth as many test images, `factor` times."""
    target.mkdir(parents=True)
    random = np.random.default_rng(factor)
    for part, count in (("train", base), ("t10k", base // 6)):
        images = idx.read_images(official / f"{part}-images-idx3-ubyte.gz")[:count]
        labels = idx.read_labels(official / f"{part}-labels-idx1-ubyte.gz")[:count]
        repeated = np.empty((factor, *images.shape), np.uint8)
        for copy in repeated:
            noise = random.integers(-_NOISE, _NOISE + 1, images.shape, dtype=np.int16)
            copy[:] = np.clip(images + noise, 0, 255)
        idx.write(target / f"{part}-images-idx3-ubyte", repeated.reshape(-1, *images.shape[1:]))
        idx.write(target / f"{part}-labels-idx1-ubyte", np.tile(labels, factor))


def draw(target: Path, count: int, edge: int) -> None:
    """Writes folders of JPEGs of coarse noise: `count` to train on, a sixth as many to test on."""
    for part, number in (("train", count), ("test", count // 6)):
        random = np.random.default_rng(number)
        for label, name in enumerate(CLASS_LABELS):
            folder = target / part / name.replace("/", "_")
            folder.mkdir(parents=True)
            for place in range(label, number, len(CLASS_LABELS)):
                coarse = Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8))
                coarse.resize((edge, edge), Image.Resampling.BILINEAR).save(folder / f"{place}.jpg")


def measure(workdir: Path, edge: int | None = None) -> Costs:
    """Runs the nodes on the data below `workdir` and returns what each of them cost.

    Args:
        workdir: holds the data.
        edge: of the colour pictures in it; None: they are IDX files.
    """
    from orchestration.compiler import compile_pipeline
    from orchestration.launch import run_node
    from runs.executions import node_ids, with_run_id

    settings: dict[str, Any] = {f"training__{name}": value for name, value in _TINY.items()}
    if edge:
        pictures = sum(1 for _ in (workdir / "root" / "base" / "train").glob("*/*"))
        settings |= {"data__image_size": edge, "data__color": "rgb"}
        settings |= {"training__batch_size": batch_size(pictures, edge)}
    config = load_config(
        "default",
        workdir=workdir,
        data__root=workdir / "root",
        data__stop_on_drift=False,
        **settings,
    )
    ir = with_run_id(compile_pipeline(config), "growth")
    costs: Costs = {}
    nodes = node_ids(ir)
    for node_id in nodes[: nodes.index(_MEASURED[-1]) + 1]:
        began, processor = time.monotonic(), time.process_time()
        with _peak_megabytes() as peak:
            run_node(ir, node_id)
        seconds = time.monotonic() - began
        costs[node_id] = (seconds, time.process_time() - processor, peak[0])
    return {node_id: costs[node_id] for node_id in _MEASURED}


@contextmanager
def _peak_megabytes() -> Iterator[list[float]]:
    """Yields what holds the peak of this process's own memory afterwards, sampled."""
    peak = [0.0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SECONDS_BETWEEN_SAMPLES):
            status = dict(
                line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
            )
            kilobytes = sum(int(status[name].split()[0]) for name in ("RssAnon", "RssShmem"))
            peak[0] = max(peak[0], kilobytes * 1024 / 1e6)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        done.set()
        sampler.join()


def _in_a_process(workdir: Path, edge: int | None) -> Costs:
    command = [sys.executable, "-m", "benchmarks.growth", "--measure", str(workdir)]
    command += ["--pictures", str(edge)] if edge else []
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        raise SystemExit(process.stderr[-2000:])
    costs: Costs = json.loads(process.stdout.splitlines()[-1])
    return costs


def report(arguments: argparse.Namespace, load: float, found: dict[int, Costs]) -> Iterator[str]:
    """Yields the lines of the report, in Markdown."""
    least = min(found)
    yield "# The nodes as the data grows"
    yield ""
    yield (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, revision {code_revision()}, {os.cpu_count()} "
        f"cores ({platform.machine()}), load average before {load:.1f}. "
        f"`python -m benchmarks.growth --base {arguments.base}"
        f"{f' --pictures {arguments.pictures}' if arguments.pictures else ''}`: "
        f"{arguments.base:,} training images and {arguments.base // 6:,} test images, times the "
        f"factor. Limit of memory: {MEMORY_LIMIT_MEGABYTES:,} MB."
    )
    yield ""
    yield "| node | data | s | processor, s | growth of the latter | peak memory, MB |"
    yield "|---|---|---|---|---|---|"
    for node in found[least]:
        for factor, costs in found.items():
            seconds, processor, memory = costs[node]
            growth = processor / found[least][node][1]
            yield (
                f"| {node} | x {factor} | {seconds:.1f} | {processor:.1f} | x {growth:.1f} "
                f"| {memory:,.0f} |"
            )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--base", type=int, default=OFFICIAL_TRAINING_IMAGES)
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--pictures", type=int, metavar="EDGE", help="colour JPEGs in folders")
    parser.add_argument("--source", type=Path, help="folder with the four official files")
    parser.add_argument("--output", type=Path, help="Markdown file to write the report to")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
