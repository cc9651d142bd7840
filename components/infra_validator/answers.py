"""Whether an answer is that of a classifier over the vocabulary, and the same on every way.

Of a signature's outputs, every float one is rows of class probabilities [N, classes], every string
one holds labels, every integer one class ids.
"""

from collections.abc import Sequence

import numpy as np

# Server and process run the same graph, but not the same schedule of threads.
_TOLERANCE = 1e-4
_SUM_TOLERANCE = 1e-3

Arrays = dict[str, np.ndarray]


def defects(answer: Arrays, rows: int, labels: Sequence[str]) -> list[str]:
    """Says what is wrong with an answer in itself.

    Args:
        answer: outputs by name.
        rows: how many examples were sent.
        labels: the vocabulary, in the order of class ids; empty: no classifier, nothing to check.
    """
    found = []
    for name, raw in answer.items():
        value = _decoded(raw)
        if value.ndim == 0 or value.shape[0] != rows:
            found.append(f"output {name} has shape {list(value.shape)} for {rows} examples")
        elif np.issubdtype(value.dtype, np.floating):
            found += _probability_defects(name, value, rows, len(labels))
        elif value.dtype == object:
            unknown = sorted(set(value.ravel()) - set(labels))
            if unknown:
                found.append(f"output {name} has labels outside the vocabulary: {unknown[:3]}")
        elif ((value < 0) | (value >= len(labels))).any():
            found.append(f"output {name} has class ids outside 0 to {len(labels) - 1}")
    return found or _contradictions(answer, labels)


def differences(expected: Arrays, got: Arrays) -> list[str]:
    """Says where an answer differs from the SavedModel's in this process."""
    missing = [name for name in expected if name not in got]
    if missing:
        return [f"output {name} is missing" for name in missing]
    if "classes" in expected and "scores" in expected:
        return _ranking_differences(expected, got)
    clear = _clear_rows(expected)
    found = []
    for name, value in expected.items():
        ours, theirs = _decoded(value), _decoded(got[name])
        if ours.shape != theirs.shape:
            found.append(
                f"output {name}: expected shape {list(ours.shape)}, got {list(theirs.shape)}"
            )
        elif np.issubdtype(ours.dtype, np.floating):
            found += _float_differences(name, ours, theirs)
        elif (wrong := np.flatnonzero((ours != theirs) & clear)).size:
            row = int(wrong[0])
            found.append(f"output {name}[{row}]: expected {ours[row]}, got {theirs[row]}")
    return found


def top_labels(answer: Arrays, labels: Sequence[str]) -> np.ndarray:
    """Returns the most probable label of each example, as strings [N]."""
    if "label" in answer:
        return _decoded(answer["label"])
    if "classes" in answer:
        return _decoded(answer["classes"])[:, 0]
    probabilities = next(v for v in answer.values() if np.issubdtype(v.dtype, np.floating))
    return np.array(labels, dtype=object)[probabilities.argmax(axis=-1)]


def _probability_defects(name: str, value: np.ndarray, rows: int, classes: int) -> list[str]:
    if value.shape != (rows, classes):
        return [f"output {name} has shape {list(value.shape)}, expected {[rows, classes]}"]
    if not np.isfinite(value).all():
        return [f"output {name} holds NaN or infinity"]
    sums = value.sum(axis=-1)
    worst = sums[np.abs(sums - 1).argmax()]
    if abs(worst - 1) > _SUM_TOLERANCE:
        return [f"output {name} sums to {worst:.4f}, expected 1"]
    if (value < -_TOLERANCE).any():
        return [f"output {name} holds negative probabilities"]
    return []


def _contradictions(answer: Arrays, labels: Sequence[str]) -> list[str]:
    """Says where labels and class ids of one answer contradict its probabilities."""
    if "probabilities" not in answer:
        return []
    best = answer["probabilities"].argmax(axis=-1)
    clear = _clear_rows(answer)
    found = []
    if "class_id" in answer and ((answer["class_id"] != best) & clear).any():
        found.append("output class_id is not the most probable class")
    if "label" in answer:
        expected = np.array(labels, dtype=object)[best]
        if (wrong := np.flatnonzero((_decoded(answer["label"]) != expected) & clear)).size:
            row = int(wrong[0])
            got = _decoded(answer["label"])[row]
            found.append(f"output label[{row}]: expected {expected[row]}, got {got}")
    return found


def _clear_rows(answer: Arrays) -> np.ndarray:
    """Tells the rows in which one class wins by more than the tolerance."""
    for name in ("probabilities", "scores"):
        if name in answer and answer[name].ndim == 2 and answer[name].shape[1] > 1:
            ordered = np.sort(answer[name], axis=-1)
            return np.asarray(ordered[:, -1] - ordered[:, -2] > 2 * _TOLERANCE)
    return np.array(True)


def _ranking_differences(expected: Arrays, got: Arrays) -> list[str]:
    clear = np.broadcast_to(_clear_rows(expected), len(expected["scores"]))
    ours, theirs = (_rankings(answer) for answer in (expected, got))
    if len(ours) != len(theirs):
        return [f"expected {len(ours)} classifications, got {len(theirs)}"]
    for row, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if mine.keys() != other.keys():
            return [f"classes[{row}]: expected {sorted(mine)}, got {sorted(other)}"]
        if clear[row] and max(mine, key=mine.__getitem__) != max(other, key=other.__getitem__):
            return [f"classes[{row}]: expected {next(iter(mine))}, got {next(iter(other))} first"]
        label = max(mine, key=lambda name: abs(mine[name] - other[name]))
        if not abs(mine[label] - other[label]) <= _TOLERANCE:
            return [
                f"score of {label} in row {row}: expected {mine[label]:.6f}, got {other[label]:.6f}"
            ]
    return []


def _rankings(answer: Arrays) -> list[dict[str, float]]:
    classes, scores = _decoded(answer["classes"]), answer["scores"]
    return [
        dict(zip(names, map(float, values), strict=True))
        for names, values in zip(classes, scores, strict=True)
    ]


def _float_differences(name: str, ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    # Written so that NaN counts as a difference.
    wrong = np.argwhere(~(np.abs(ours - theirs) <= _TOLERANCE))
    if not wrong.size:
        return []
    place = tuple(int(index) for index in wrong[0])
    return [
        f"output {name}{list(place)}: expected {float(ours[place]):.6f}, "
        f"got {float(theirs[place]):.6f}"
    ]


def _decoded(value: np.ndarray) -> np.ndarray:
    """Returns strings as `str` in an object array, whichever way they came."""
    if value.dtype.kind not in "OSU":
        return value
    decode = np.frompyfunc(lambda v: v.decode() if isinstance(v, bytes) else str(v), 1, 1)
    return np.asarray(decode(value), dtype=object)
