"""On what a training runs: processors, one or several GPUs, or several machines."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.settings.paths import ROOT
from serving.launch.child import dying_with_this_process

_log = logging.getLogger(__name__)

# What the machines of a training are told, in bytes.
_LONGEST_MESSAGE = 1 << 16


def machine_count() -> int:
    """How many machines `TF_CONFIG` gives a training, this one among them; 1 without it.

    Raises:
        ValueError: it has others than a chief and workers, or is no JSON.
    """
    cluster = _tf_config().get("cluster", {})
    if others := set(cluster) - {"chief", "worker"}:
        raise ValueError(f"TF_CONFIG may have a chief and workers, not {', '.join(sorted(others))}")
    return max(1, sum(map(len, cluster.values())))


def is_chief() -> bool:
    """Whether this is the one machine of a training that keeps what comes of it.

    Raises:
        ValueError: `TF_CONFIG` has several machines, and does not say which of them this is.
    """
    config = _tf_config()
    if machine_count() == 1:
        return True
    first = "chief" if "chief" in config["cluster"] else "worker"
    try:
        # As TensorFlow does, it takes an index in quotes.
        return (config["task"]["type"], int(config["task"]["index"])) == (first, 0)
    except (LookupError, TypeError, ValueError):
        raise ValueError(
            "TF_CONFIG has several machines; its task is to have the type and the index of this one"
        ) from None


def _tf_config() -> dict[str, Any]:
    return json.loads(os.environ.get("TF_CONFIG") or "{}")


def own_strategy() -> tf.distribute.Strategy:
    """Returns what trains on all GPUs of this machine, or on its processors if it has none."""
    if len(tf.config.list_logical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def check_batch(size: int, strategy: tf.distribute.Strategy) -> None:
    """Checks that every device gets an image of each batch, and says in the log on what it trains.

    Raises:
        ValueError: there are more devices.
    """
    devices = strategy.num_replicas_in_sync
    if size < devices:
        raise ValueError(f"training.batch_size is {size}, but {devices} devices are to share it")
    if devices > 1:
        _log.info("each batch of %d is divided among %d devices", size, devices)


def uses_xla(strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA is to compile the step of a training.

    It spares a GPU most of its many small kernels. Processors lose by it, since their fast
    convolutions are oneDNN's, and what several devices do together it cannot compile.
    """
    return bool(tf.config.list_physical_devices("GPU")) and strategy.num_replicas_in_sync == 1


def over_machines(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Has every machine make each batch and take its share: all agree on what an epoch is."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


def train_with_other_machines(arguments: Mapping[str, Any]) -> None:
    """Trains and exports as the chief of several machines; waits for the others.

    In a process of its own: TensorFlow wants to know of other machines before its first operation.

    Args:
        arguments: of `FnArgs`, as JSON has them; paths that all machines see.

    Raises:
        ValueError: this machine is not the chief.
        RuntimeError: the training failed.
    """
    worker = [sys.executable, "-m", "pipeline.modeling.worker"]
    if not is_chief():
        raise ValueError(f"TF_CONFIG makes another machine the chief: run {' '.join(worker)} here")
    command = dying_with_this_process([*worker, json.dumps(arguments)])
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(
            f"the training on {machine_count()} machines ended with exit code {done.returncode}; "
            "the log has the reason"
        )


def told_by_chief(strategy: tf.distribute.Strategy, message: Any) -> Any:
    """Returns the chief's message on every machine of a training, once all are there.

    Args:
        strategy: of the training; it gives a new variable the value that the chief has for it.
        message: the chief's, of what JSON has; that of another machine does not matter.

    Raises:
        ValueError: it is too long.
    """
    content = json.dumps(message).encode()
    if len(content) > _LONGEST_MESSAGE:
        raise ValueError(f"{len(content)} bytes are too many to tell the machines of a training")
    padded = np.frombuffer(content.ljust(_LONGEST_MESSAGE), np.uint8)
    with strategy.scope():
        told = tf.Variable(padded.astype(np.float32))
    return json.loads(told.numpy().astype(np.uint8).tobytes())


@keras.saving.register_keras_serializable(package="pipeline.modeling")
class MultiWorkerModel(keras.Model):
    """A functional model whose `fit` works on several machines.

    That of Keras 3.15 does not, https://github.com/keras-team/keras/issues/20585: it averages its
    first batch over the machines to learn its shape, which gives no tensor, and each metric over
    an axis that a metric does not have.
    """

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Returns metrics of shape [1]."""
        return _with_axis(super().train_step(data))

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Returns metrics of shape [1]."""
        return _with_axis(super().test_step(data))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        shapes = (self.input_shape[1:], self.output_shape[1:])
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=tuple(tf.zeros([1, *shape]) for shape in shapes))


def _with_axis(metrics: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    return {name: metric[tf.newaxis] for name, metric in metrics.items()}
