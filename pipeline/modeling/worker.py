"""One machine's part in a training on several, which `TF_CONFIG` names.

    python -m pipeline.modeling.worker

Trainer starts it on the chief, with what there is to train. On every other machine it is started by
hand, before or after, and waits for the chief; it ends with the training.
"""

import json
import logging
import sys

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from pipeline.modeling.distribution import told_by_chief
from pipeline.modeling.trainer import train_and_export


def main() -> None:
    """Joins the training, and trains what the chief says."""
    logging.basicConfig(level=logging.INFO)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    of_chief = json.loads(sys.argv[1]) if len(sys.argv) > 1 else None
    train_and_export(FnArgs(**told_by_chief(strategy, of_chief)), strategy)


if __name__ == "__main__":
    main()
