"""What a step of training costs with the fused normalisation, against Keras' own layer.

    python -m benchmarks.training_step [--presets default best] [--rounds 5]
        [--set section.key=value] [--output FILE.md]

Trains the same network twice in one process, in turns of a few steps: with
`FusedBatchNormalization`, and with `keras.layers.BatchNormalization` in its place. Both are done in
float32 and in mixed bfloat16. The last column is the step that `training.precision = "auto"` takes
here, against the one that was taken before: Keras' layer, in bfloat16 wherever AVX-512 has it.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from benchmarks.normalization import with_normalization
from pipeline.code_revision import code_revision
from pipeline.modeling.network import build_model
from pipeline.modeling.normalization import FusedBatchNormalization
from pipeline.modeling.optimizer import build_optimizer
from pipeline.modeling.precision import training_policy
from pipeline.settings.hyperparameters import Hyperparameters, Precision
from pipeline.settings.load import load_config

_STEPS, _STEPS_PER_EPOCH = 4, 200
_POLICIES = (Precision.FLOAT32, Precision.MIXED_BFLOAT16)

Steps = Callable[[], float]


def main() -> None:
    """Prints the table and writes it to --output if given."""
    arguments = _arguments()
    lines = list(_heading(arguments.overrides))
    for preset in arguments.presets:
        training = load_config(preset, None, arguments.overrides).training
        milliseconds = _measure(training, arguments.rounds)
        lines.append(_row(preset, milliseconds))
        print(lines[-1], flush=True)
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")
    else:
        print("\n".join(lines))


def _measure(
    hyperparameters: Hyperparameters, rounds: int
) -> dict[tuple[Precision, type[layers.Layer]], float]:
    runs = {
        (policy, layer): _steps_of(hyperparameters, policy, layer)
        for policy in _POLICIES
        for layer in (layers.BatchNormalization, FusedBatchNormalization)
    }
    times: dict[tuple[Precision, type[layers.Layer]], list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            times[key].append(run())
    return {key: median(of) for key, of in times.items()}


def _steps_of(
    hyperparameters: Hyperparameters, policy: Precision, layer: type[layers.Layer]
) -> Steps:
    """Returns a function that makes some steps and returns the milliseconds of one."""
    keras.config.set_dtype_policy(policy.value)

    model = with_normalization(build_model(hyperparameters), layer)
    model.compile(
        build_optimizer(hyperparameters, _STEPS_PER_EPOCH),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    generator = np.random.default_rng(0)
    images = generator.random((hyperparameters.batch_size, 28, 28, 1), np.float32)
    labels = np.eye(10, dtype=np.float32)[generator.integers(0, 10, hyperparameters.batch_size)]
    batches = iter(tf.data.Dataset.from_tensors((images, labels)).repeat())
    model.make_train_function()
    step = model.train_function

    def run() -> float:
        began = time.perf_counter()
        for _ in range(_STEPS):
            step(batches)
        return (time.perf_counter() - began) / _STEPS * 1000

    run()
    return run


def _heading(overrides: Sequence[str]) -> Iterator[str]:
    settings = "".join(f" --set {override}" for override in overrides)
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, revision {code_revision()}, {os.cpu_count()} cores "
        f"({platform.machine()}, {processor()}), load average before {os.getloadavg()[0]:.1f}. "
        f"Milliseconds of a step, medians. `python -m benchmarks.training_step{settings}`"
    )
    yield ""
    yield (
        "| preset | float32: Keras' layer | fused | ratio | bfloat16: Keras' layer | fused | ratio "
        "| auto, against before |"
    )
    yield "|---|---|---|---|---|---|---|---|"


def _row(preset: str, milliseconds: dict[tuple[Precision, type[layers.Layer]], float]) -> str:
    cells = [preset]
    for policy in _POLICIES:
        stock, fused = (
            milliseconds[policy, layer]
            for layer in (layers.BatchNormalization, FusedBatchNormalization)
        )
        cells += [f"{stock:.1f}", f"{fused:.1f}", f"{fused / stock:.2f}"]
    now = milliseconds[training_policy(Precision.AUTO), FusedBatchNormalization]
    has_bfloat16 = {"amx_bf16", "avx512_bf16"} & set(_cpuinfo().split())
    before = milliseconds[_POLICIES[bool(has_bfloat16)], layers.BatchNormalization]
    return f"| {' | '.join([*cells, f'{now / before:.2f}'])} |"


def processor() -> str:
    """Returns the name of this machine's processor."""
    for line in _cpuinfo().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text() if path.exists() else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--presets", nargs="+", default=["default", "best"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
