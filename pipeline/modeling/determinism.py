"""The same training gives the same numbers, whichever process and orchestrator it runs in."""

import os

# TensorFlow reads it when its first operation runs.
_THREADS_VARIABLE = "TF_NUM_INTRAOP_THREADS"


def limit_threads(threads: int | None) -> None:
    """Fixes among how many threads an operation is divided, on which its rounding depends.

    Has an effect only before the process runs its first TensorFlow operation.

    Args:
        threads: how many; None: one per processor, TensorFlow's default.
    """
    if threads is not None:
        os.environ[_THREADS_VARIABLE] = str(threads)


def make_deterministic(seed: int) -> None:
    """Sets every seed, and has TensorFlow do without operations that add up in varying order.

    Not on a GPU: XLA knows no other order for some. There, the same seed gives nearly the same.
    """
    # Takes seconds to import.
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    if not tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
