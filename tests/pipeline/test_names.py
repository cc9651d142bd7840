"""Names of pipelines: valid wherever they are used, and never shared by two models."""

import re

import pytest

from pipeline.names import pipeline_name

ALIKE = ["a_b", "a-b", "a.b", "A_b", "a__b", "_a_b", "a_b_", "ab", "a_b-", "-", "_", ".", "--"]
LONG = ["x" * 200, "x" * 201, "x_" * 100 + "x", "x-" * 100 + "x"]


def test_the_default_model_keeps_the_name_that_its_pipeline_has_had() -> None:
    assert pipeline_name("fashion_mnist") == "fashion-mnist"


def test_two_models_never_share_a_name() -> None:
    names = {pipeline_name(model) for model in ALIKE + LONG}
    assert len(names) == len(ALIKE + LONG)


def test_no_plain_name_is_that_of_a_model_with_a_digest() -> None:
    taken = pipeline_name("a-b")
    assert pipeline_name(taken.replace("-", "_")) != taken
    assert pipeline_name(taken) != taken


@pytest.mark.parametrize("model", ALIKE + LONG)
def test_a_name_fits_kubeflow_and_kubernetes_labels(model: str) -> None:
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", pipeline_name(model))
