"""What counts as a wrong answer, on arrays."""

import numpy as np
import pytest

from components.infra_validator.answers import defects, differences, top_labels

LABELS = ["cat", "dog", "owl"]


def sound() -> dict[str, np.ndarray]:
    return {
        "probabilities": np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7]], np.float32),
        "class_id": np.array([0, 2]),
        "label": np.array([b"cat", b"owl"], dtype=object),
    }


def ranking() -> dict[str, np.ndarray]:
    return {
        "classes": np.array([[b"cat", b"dog", b"owl"]], dtype=object),
        "scores": np.array([[0.7, 0.2, 0.1]], np.float32),
    }


def test_a_sound_answer_has_no_defects() -> None:
    assert defects(sound(), 2, LABELS) == []
    assert defects(ranking(), 1, LABELS) == []


@pytest.mark.parametrize(
    ("output", "value", "says"),
    [
        ("probabilities", np.full((2, 2), 0.5), "has shape [2, 2], expected [2, 3]"),
        ("probabilities", np.full((3,), 1 / 3), "has shape [3] for 2 examples"),
        ("probabilities", np.full((2, 3), np.nan), "holds NaN"),
        ("probabilities", np.full((2, 3), 0.5), "sums to 1.5000, expected 1"),
        ("probabilities", np.array([[2.0, -1.0, 0.0]] * 2), "negative probabilities"),
        ("label", np.array(["cat", "bat"], dtype=object), "outside the vocabulary: ['bat']"),
        ("label", np.array(["cat", "dog"], dtype=object), "label[1]: expected owl, got dog"),
        ("class_id", np.array([0, 3]), "class ids outside 0 to 2"),
        ("class_id", np.array([0, 1]), "class_id is not the most probable class"),
    ],
)
def test_a_defect_is_named(output: str, value: np.ndarray, says: str) -> None:
    [defect] = defects(sound() | {output: value}, 2, LABELS)

    assert output in defect
    assert says in defect


def test_equal_answers_do_not_differ_whichever_way_strings_came() -> None:
    over_rest = sound() | {"label": np.array(["cat", "owl"])}

    assert differences(sound(), over_rest) == []
    assert differences(ranking(), ranking()) == []


@pytest.mark.parametrize(
    ("output", "value", "says"),
    [
        ("probabilities", np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]), "expected 0.200000, got"),
        ("probabilities", np.full((2, 3), np.nan), "got nan"),
        ("class_id", np.array([0, 1]), "expected 2, got 1"),
        ("label", np.array(["cat", "dog"], dtype=object), "expected owl, got dog"),
        ("label", np.array(["cat"], dtype=object), "expected shape [2], got [1]"),
    ],
)
def test_a_difference_says_what_was_expected_and_what_came(
    output: str, value: np.ndarray, says: str
) -> None:
    [difference] = differences(sound(), sound() | {output: value})

    assert says in difference


def test_an_output_that_is_missing_is_a_difference() -> None:
    answer = sound()
    del answer["label"]

    assert differences(sound(), answer) == ["output label is missing"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scores": np.array([[0.7, 0.1, 0.2]])}, "score of dog in row 0: expected 0.200000"),
        ({"classes": np.array([["dog", "cat", "owl"]], dtype=object)}, "expected cat, got dog"),
        ({"classes": np.array([["cat", "dog", "bat"]], dtype=object)}, "['bat', 'cat', 'dog']"),
    ],
)
def test_rankings_are_compared_by_label(change: dict[str, np.ndarray], says: str) -> None:
    [difference] = differences(ranking(), ranking() | change)

    assert says in difference


def test_classes_of_equal_probability_may_come_in_either_order() -> None:
    tie = {
        "classes": np.array([["cat", "dog"]], dtype=object),
        "scores": np.array([[0.5, 0.5]]),
    }
    other = tie | {"classes": np.array([["dog", "cat"]], dtype=object)}

    assert differences(tie, other) == []


@pytest.mark.parametrize("kept", ["label", "classes", "probabilities"])
def test_the_top_label_is_found_in_any_signature(kept: str) -> None:
    answer = ranking() | sound()
    answer["classes"] = np.array([["cat", "dog", "owl"], ["owl", "dog", "cat"]], dtype=object)

    assert top_labels({kept: answer[kept]}, LABELS).tolist() == ["cat", "owl"]
