"""The arithmetic of training: bfloat16 where processor or GPU is the faster for it."""

import platform
from collections.abc import Collection
from pathlib import Path

import tensorflow as tf

from pipeline.settings.hyperparameters import Precision

_AMX, _AVX512 = "amx_bf16", "avx512_bf16"
# The first NVIDIA GPUs that multiply bfloat16.
_AMPERE = (8, 0)


def training_policy(
    precision: Precision,
    cpuinfo: Path = Path("/proc/cpuinfo"),
    gpus: Collection[tuple[int, int]] | None = None,
) -> Precision:
    """Resolves `auto` for this machine's GPUs, or its processor if it has none.

    Args:
        precision: the setting.
        cpuinfo: says what the processor is.
        gpus: compute capabilities; None: of those that TensorFlow finds.

    AMX multiplies bfloat16 many times as fast as float32. AVX-512's bfloat16 instructions alone
    do so on AMD's processors (54 to 84 s an epoch of the preset `best`, where float32 took 109 s
    and more); on Intel's they are no faster, and the casts come on top: a step of the default
    preset took 60 ms in place of 38.
    """
    if precision is not Precision.AUTO:
        return precision
    if gpus is None:
        gpus = _compute_capabilities()
    if gpus:
        pays_off = min(gpus) >= _AMPERE
        return Precision.MIXED_BFLOAT16 if pays_off else Precision.FLOAT32
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        return Precision.FLOAT32
    words = set(cpuinfo.read_text().split())
    pays_off = _AMX in words or {_AVX512, "AuthenticAMD"} <= words
    return Precision.MIXED_BFLOAT16 if pays_off else Precision.FLOAT32


def _compute_capabilities() -> list[tuple[int, int]]:
    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu)["compute_capability"] for gpu in gpus]
