"""Churn: how often two models disagree on the same examples, and where.

A new model of equal accuracy may still change many answers, each of which is a change that users
of the old one see.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, Field

_WORST = 10


class ClassChurn(BaseModel):
    """What became of the examples of one true class."""

    examples: int
    changed: int
    fixed: int
    broken: int

    @property
    def share(self) -> float:
        """Share of its examples whose label changed, 0 to 1."""
        return self.changed / self.examples if self.examples else 0.0


class ChangedExample(BaseModel):
    """An example whose label changed; `position` counts from 0 within the split."""

    position: int
    truth: str
    before: str
    after: str
    before_probability: float
    after_probability: float


class LiveChurn(BaseModel):
    """How often two models disagree on recorded pictures, whose truth nobody knows.

    Attributes:
        examples: how many were compared.
        changed: for how many the label changed.
        refused: pictures that one of the models, or both, cannot read.
    """

    examples: int
    changed: int
    refused: int = 0

    @property
    def share(self) -> float:
        """Share of the pictures whose label changed, 0 to 1."""
        return self.changed / self.examples if self.examples else 0.0


class Churn(BaseModel):
    """How often two models disagree.

    Attributes:
        examples: how many were compared.
        changed: for how many the label changed; `fixed` became right, `broken` wrong.
        classes: the same by true label.
        worst: changed examples, those first whose right answer was lost with most certainty.
        live: the same on what production asked; None: nothing of it was compared.
    """

    examples: int
    changed: int
    fixed: int
    broken: int
    classes: dict[str, ClassChurn] = Field(default_factory=dict)
    worst: list[ChangedExample] = Field(default_factory=list)
    live: LiveChurn | None = None

    @property
    def share(self) -> float:
        """Share of all examples whose label changed, 0 to 1."""
        return self.changed / self.examples if self.examples else 0.0


def compare_live(before: Path, after: Path, examples: Sequence[bytes], signature: str) -> LiveChurn:
    """Compares two SavedModels on examples that may be unreadable.

    Args:
        before: the old model.
        after: the new one.
        examples: serialized tf.Examples.
        signature: as in `predict`.
    """
    # Signatures do not keep alive the variables that they use.
    models = [tf.saved_model.load(str(model)) for model in (before, after)]
    changed = refused = 0
    for example in examples:
        try:
            old, new = (_best_class(model.signatures[signature], example) for model in models)
        except tf.errors.InvalidArgumentError:
            refused += 1
        else:
            changed += old != new
    return LiveChurn(examples=len(examples) - refused, changed=changed, refused=refused)


def _best_class(run: Any, example: bytes) -> int:
    (argument,) = run.structured_input_signature[1]
    return int(run(**{argument: tf.constant([example])})["probabilities"].numpy().argmax())


def true_classes(examples: Sequence[bytes], label_feature: str) -> np.ndarray:
    """Returns the class ids in serialized tf.Examples, int64 [examples]."""
    return np.array(
        [
            tf.train.Example.FromString(example).features.feature[label_feature].int64_list.value[0]
            for example in examples
        ]
    )


def compare(
    before: np.ndarray, after: np.ndarray, truth: np.ndarray, labels: Sequence[str]
) -> Churn:
    """Compares two models' probabilities.

    Args:
        before: the old model's, [examples, classes].
        after: the new model's, in the same form.
        truth: class ids [examples].
        labels: the vocabulary, in the order of class ids.
    """
    old, new = before.argmax(axis=1), after.argmax(axis=1)
    changed = old != new
    fixed, broken = changed & (new == truth), changed & (old == truth)
    classes = {
        label: ClassChurn(
            examples=int((truth == class_id).sum()),
            changed=int(changed[truth == class_id].sum()),
            fixed=int(fixed[truth == class_id].sum()),
            broken=int(broken[truth == class_id].sum()),
        )
        for class_id, label in enumerate(labels)
    }
    rows = np.arange(len(truth))
    lost = before[rows, truth] - after[rows, truth]
    positions = np.flatnonzero(changed)
    worst = positions[np.argsort(-lost[positions], kind="stable")][:_WORST]
    return Churn(
        examples=len(truth),
        changed=int(changed.sum()),
        fixed=int(fixed.sum()),
        broken=int(broken.sum()),
        classes=classes,
        worst=[
            ChangedExample(
                position=int(row),
                truth=labels[truth[row]],
                before=labels[old[row]],
                after=labels[new[row]],
                before_probability=round(float(before[row, old[row]]), 4),
                after_probability=round(float(after[row, new[row]]), 4),
            )
            for row in worst
        ],
    )
