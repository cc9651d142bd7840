"""Several devices, or machines, train one model; two processes on this machine stand for machines.

No GPU is needed: that a training could run on one is read from TensorFlow's list of kernels.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels
from tfx.components.trainer.fn_args_utils import FnArgs

from pipeline.modeling.distribution import check_batch, is_chief, machine_count, own_strategy
from pipeline.modeling.trainer import _compile, _new_model, run_fn
from pipeline.modeling.warm_start import exported_weights
from pipeline.settings.hyperparameters import Hyperparameters, Optimizer, Precision
from pipeline.settings.paths import ROOT
from serving.launch.base import free_ports

TINY = Hyperparameters(
    epochs=3,
    batch_size=16,
    filters=(8, 16),
    convolutions=1,
    dense_units=32,
    optimizer=Optimizer.MUON,
    ema_momentum=0.5,
    test_time_flip=False,
    precision=Precision.FLOAT32,
)


def tf_config(kind: str, index: int | str = 0, **cluster: list[str]) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("config", "machines", "chief"),
    [
        ("", 1, True),
        (tf_config("worker", worker=["a:1"]), 1, True),
        (tf_config("worker", worker=["a:1", "b:1"]), 2, True),
        (tf_config("worker", 1, worker=["a:1", "b:1"]), 2, False),
        (tf_config("worker", "0", worker=["a:1", "b:1"]), 2, True),
        (tf_config("worker", "1", worker=["a:1", "b:1"]), 2, False),
        (tf_config("chief", chief=["a:1"], worker=["b:1", "c:1"]), 3, True),
        (tf_config("worker", chief=["a:1"], worker=["b:1", "c:1"]), 3, False),
    ],
)
def test_tf_config_says_how_many_machines_there_are_and_which_is_the_chief(
    config: str, machines: int, chief: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    assert (machine_count(), is_chief()) == (machines, chief)


def test_parameter_servers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config("ps", ps=["a:1"], worker=["b:1"]))
    with pytest.raises(ValueError, match="a chief and workers, not ps"):
        machine_count()


@pytest.mark.parametrize("task", [{}, {"task": {"type": "worker"}}, {"task": {"index": 0}}])
def test_which_of_several_machines_this_is_has_to_be_said(
    task: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"cluster": {"worker": ["a:1", "b:1"]}, **task}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    with pytest.raises(ValueError, match="the type and the index of this one"):
        is_chief()


def test_a_pipeline_runs_on_the_chief_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", tf_config("worker", 1, worker=["a:1", "b:1"]))
    with pytest.raises(ValueError, match=r"run .*-m pipeline\.modeling\.worker here"):
        run_fn(FnArgs())


def test_a_batch_has_an_image_for_every_device() -> None:
    check_batch(1, own_strategy())
    with pytest.raises(ValueError, match="batch_size is 0, but 1 devices"):
        check_batch(0, own_strategy())


def test_every_operation_of_a_step_has_a_kernel_for_gpus_and_one_for_xla() -> None:
    in_bfloat16 = TINY.model_copy(update={"precision": Precision.MIXED_BFLOAT16})
    model = _new_model(in_bfloat16, 10, (28, 28, 1))
    _compile(model, in_bfloat16, 8)
    step = tf.function(lambda images, labels: model.train_step((images, labels)))
    graph = step.get_concrete_function(tf.zeros([4, 28, 28, 1]), tf.zeros([4, 10])).graph
    for devices in ({"GPU", "DEFAULT"}, {"XLA_GPU_JIT"}):
        assert [node.op for node in operations(graph) if not has_kernel(node, devices)] == []


# The graph's own inputs and branches, which are no kernels of XLA's.
STRUCTURE = ("Placeholder", "IdentityN", "StatelessIf")


def operations(graph: tf.Graph) -> Iterator[Any]:
    definition = graph.as_graph_def()
    functions = (node for function in definition.library.function for node in function.node_def)
    for node in (*definition.node, *functions):
        if node.op not in STRUCTURE:
            yield node


def has_kernel(node: Any, devices: set[str]) -> bool:
    return any(
        kernel.device_type in devices
        and all(
            node.attr[constraint.name].type in constraint.allowed_values.list.type
            for constraint in kernel.constraint
        )
        for kernel in kernels.get_registered_kernels_for_op(node.op).kernel
    )


ON_ONE_DEVICE_AND_ON_TWO = """
import json, sys
from pathlib import Path
import numpy as np, tensorflow as tf
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import LabelledImages
from pipeline.modeling.trainer import train_model
from pipeline.settings.hyperparameters import Hyperparameters

[processor] = tf.config.list_physical_devices("CPU")
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(processor, two)
folder, how = Path(sys.argv[1]), Hyperparameters.model_validate_json(sys.argv[2])
labels = np.arange(256) % 10
images = np.random.default_rng(0).random((256, 28, 28, 1), np.float32) / 4
for image, label in zip(images, labels):
    image[2 * label + 2 : 2 * label + 6] += 0.75
split = LabelledImages(images, labels)

def train(name, epochs, strategy=None):
    kept = EpochCheckpoint(folder / name)
    until = how.model_copy(update={"epochs": epochs})
    return train_model(split, split, until, kept, folder, strategy=strategy)

train("one", how.epochs)
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
train("two", how.epochs - 1, mirrored)
resumed = train("two", how.epochs, mirrored)
for weight in resumed.weights:
    first, second = weight.value.values
    np.testing.assert_array_equal(first, second)
"""


def validation_losses(history: Path) -> list[float]:
    header, *epochs = (line.split(",") for line in history.read_text().splitlines())
    return [float(epoch[header.index("val_loss")]) for epoch in epochs]


@pytest.mark.integration
def test_two_devices_train_about_as_one_and_hold_the_same_weights(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ON_ONE_DEVICE_AND_ON_TWO, tmp_path, TINY.model_dump_json()]
    subprocess.run(command, cwd=ROOT, check=True)
    one, two = (validation_losses(tmp_path / name / "history.csv") for name in ("one", "two"))
    assert len(one) == len(two) == TINY.epochs
    assert two[-1] == pytest.approx(one[-1], rel=0.15)
    assert two[-1] < 0.8 * two[0]


WORKER_THAT_TELLS_ITS_WEIGHTS = """
import sys
import numpy as np
from pipeline.modeling import trainer, worker

path, train = sys.argv.pop(), trainer.train_model

def train_and_tell(*arguments):
    model = train(*arguments)
    np.savez(path, *model.get_weights())
    return model

trainer.train_model = train_and_tell
worker.main()
"""


@pytest.mark.integration
def test_two_machines_end_with_the_same_weights_and_the_chief_exports_them(
    examples: str, transform_graph: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    told = tmp_path / "told.npz"
    monkeypatch.setenv("TF_CONFIG", tf_config("worker", 1, worker=addresses))
    worker = subprocess.Popen([sys.executable, "-c", WORKER_THAT_TELLS_ITS_WEIGHTS, told], cwd=ROOT)
    monkeypatch.setenv("TF_CONFIG", tf_config("worker", 0, worker=addresses))
    folder = tmp_path / "shared"
    try:
        run_fn(
            FnArgs(
                train_files=[examples],
                eval_files=[examples],
                transform_graph_path=transform_graph,
                serving_model_dir=str(folder / "model"),
                model_run_dir=str(folder / "run"),
                custom_config={
                    "hyperparameters": TINY.model_dump(mode="json") | {"dropout": 0.3},
                    "checkpoints": str(folder / "checkpoints"),
                    "fingerprint": "f",
                },
            )
        )
        assert worker.wait(60) == 0
    finally:
        worker.kill()

    of_chief, of_worker = exported_weights(folder / "model"), list(np.load(told).values())
    assert len(of_chief) == len(of_worker) > 0
    for expected, weights in zip(of_chief, of_worker, strict=True):
        np.testing.assert_array_equal(weights, expected)
    assert len(validation_losses(folder / "run" / "history.csv")) == TINY.epochs
    assert list((folder / "checkpoints").iterdir()) == []
