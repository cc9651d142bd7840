"""What a training's numbers depend on besides data, code and seed."""

import subprocess
import sys

import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled

from pipeline.modeling.determinism import make_deterministic
from pipeline.settings.paths import ROOT

# More than any machine that runs this has processors.
MANY = 600

COUNT_THREADS = f"""
from pathlib import Path
from pipeline.modeling.determinism import limit_threads
limit_threads({MANY})
import tensorflow as tf
tf.random.uniform([64, 512]) @ tf.random.uniform([512, 512])
print(len(list(Path("/proc/self/task").iterdir())))
"""


def test_a_fixed_number_of_threads_is_what_tensorflow_takes() -> None:
    command = [sys.executable, "-c", COUNT_THREADS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) > MANY


def test_a_seed_fixes_what_is_random_and_operations_keep_their_order() -> None:
    drawn = []
    for _ in range(2):
        make_deterministic(seed=3)
        drawn.append(tf.random.uniform([4]).numpy().tolist())
    assert drawn[0] == drawn[1]
    assert is_op_determinism_enabled()
