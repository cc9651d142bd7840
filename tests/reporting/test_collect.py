"""What a page says is what the metadata and the artifacts of the run say."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from components.examples import read_records
from components.infra_validator.blessing import read_blessing
from components.metrics.evaluation_results import read_metrics
from orchestration.compiler import compile_pipeline
from pipeline.evaluation import ACCURACY
from pipeline.modeling.features import CLASS_LABELS
from reporting import collect as collect_module
from reporting.evidence import Artifact, Evidence, NodeEvidence
from reporting.page import Page, ReadSpan
from reporting.render import render_page
from reporting.sections import answers as answers_section
from reporting.sections.lineage import read_spans
from reporting.sections.quality import wilson_interval
from serving.versions.record import checksums_of
from tests.reporting.conftest import Reported


def test_every_section_of_a_pushed_model_is_there(reported: Reported) -> None:
    page = reported.page
    assert page.notes == []
    assert None not in (page.data, page.checks, page.training, page.quality)
    assert None not in (page.answers, page.infra_validation, page.push)


def test_the_picture_holds_every_node_of_the_run(reported: Reported) -> None:
    pictured = {node.id: node for node in reported.page.nodes}
    for node in reported.run.result.nodes:
        assert (pictured[node.id].state, pictured[node.id].seconds) == (node.state, node.seconds)
    # Not only what hands on artifacts: Transform waits for the gate.
    assert "AnomalyGate" in pictured["Transform"].upstream


def test_the_metrics_are_evaluators_and_the_results(reported: Reported) -> None:
    result, quality = reported.run.result, reported.page.quality
    metrics = read_metrics(reported.folder("Evaluator", "evaluation"))
    overall = {metric.name: metric for metric in quality.overall if metric.where == "all images"}
    assert {name: metric.value for name, metric in overall.items()} == metrics.overall
    assert overall[ACCURACY].value == result.accuracy
    assert [row.label for row in quality.classes] == list(CLASS_LABELS)
    for row in quality.classes:
        kept = result.classes[row.label].model_dump()
        assert {name: metric.value for name, metric in row.metrics.items()} == kept


def test_the_metrics_carry_the_thresholds_that_were_set(reported: Reported) -> None:
    settings, quality = reported.config.evaluation, reported.page.quality
    base = [m for m in quality.overall if (m.name, m.where) == (ACCURACY, "base")]
    assert f"at least {settings.min_accuracy:g}" in base[0].thresholds
    for row in quality.classes:
        assert row.metrics["recall"].thresholds == [f"at least {settings.min_class_recall:g}"]
        assert row.metrics["precision"].thresholds == []
    assert not any(metric.missed for metric in quality.overall)


def test_shares_of_the_images_carry_their_confidence_interval(reported: Reported) -> None:
    quality = reported.page.quality
    shares = [m for m in quality.overall if m.name == ACCURACY]
    shares += [row.metrics["recall"] for row in quality.classes]
    for metric in shares:
        low, high = metric.interval
        assert 0 <= low <= metric.value <= high <= 1
    others = [m for m in quality.overall if m.name != ACCURACY]
    others += [row.metrics[name] for row in quality.classes for name in ("precision", "auc")]
    assert {metric.interval for metric in others} == {None}


def test_the_interval_is_wilsons() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)
    assert wilson_interval(0, 0) is None


def spans_of(properties: dict[str, str]) -> list[ReadSpan]:
    evidence = Evidence.__new__(Evidence)
    examples = Artifact(1, "Examples", "/examples", properties)
    evidence.nodes = {
        "IdxExampleGen": NodeEvidence("IdxExampleGen", {}, outputs={"examples": [examples]})
    }
    return read_spans(evidence)


def test_the_spans_that_the_examples_name_are_read() -> None:
    detail = [
        {"span": "base", "images": 60000, "sha256": "ab"},
        {"span": 3, "images": 40, "sha256": "cd"},
    ]
    spans = spans_of({"spans_detail": json.dumps(detail)})
    assert [span.name for span in spans] == ["base", "span 3"]
    assert [span.model_dump() for span in spans] == detail


def test_examples_that_name_no_spans_have_none_to_show() -> None:
    assert spans_of({}) == []


def test_the_confusion_matrix_counts_the_evaluated_images(reported: Reported) -> None:
    quality, answers = reported.page.quality, reported.page.answers
    matrix = np.array(quality.confusion_matrix)
    assert matrix.sum() == answers.evaluated
    assert np.trace(matrix) / matrix.sum() == pytest.approx(reported.run.result.accuracy)


def test_the_models_own_answers_agree_with_evaluator(reported: Reported) -> None:
    answers = reported.page.answers
    assert 1 - answers.wrong / answers.images == pytest.approx(reported.run.result.accuracy)
    assert sum(part.images for part in answers.calibration) == answers.images
    right = sum(part.images * part.accuracy for part in answers.calibration)
    assert right == pytest.approx(answers.images - answers.wrong)


def test_of_many_evaluated_images_the_model_is_asked_about_a_part(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_section, "_MAX_ASKED", 50)
    answers = answers_section.read_answers(reported.evidence, CLASS_LABELS)
    assert answers is not None
    assert (answers.images, answers.evaluated) == (50, reported.page.answers.evaluated)
    page = reported.page.model_copy(update={"answers": answers})
    assert "Computed on 50 of the 200 evaluated images" in render_page(page)


def test_mistakes_are_wrong_and_the_most_confident_ones_come_first(reported: Reported) -> None:
    mistakes = reported.page.answers.mistakes
    assert mistakes
    assert all(mistake.truth != mistake.predicted for mistake in mistakes)
    probabilities = [mistake.probability for mistake in mistakes]
    assert probabilities == sorted(probabilities, reverse=True)
    assert Image.open(io.BytesIO(mistakes[0].png)).size == (28, 28)


def test_the_statistics_count_the_examples(reported: Reported) -> None:
    examples = reported.folder("IdxExampleGen", "examples")
    for part in reported.page.data.statistics:
        files = map(str, (examples / f"Split-{part.split}").iterdir())
        assert part.examples == len(read_records(sorted(files)))
        assert sum(part.classes.values()) == part.examples
        assert part.origin == "base"
    assert {part.split for part in reported.page.data.statistics} == {"train", "validation", "eval"}


def test_there_are_sample_images_of_every_class(reported: Reported) -> None:
    samples = reported.page.data.samples
    assert [sample.label for sample in samples] == list(CLASS_LABELS)
    for sample in samples:
        width, height = Image.open(io.BytesIO(sample.png)).size
        assert (width % 28, height) == (0, 28)


def test_sound_data_has_no_anomalies_and_nothing_to_drift_from(reported: Reported) -> None:
    checks = reported.page.checks
    assert checks.anomalies == []
    assert checks.drift == []
    rules = {feature.name: feature.rules for feature in checks.schema_features}
    assert "0 to 9" in rules["label"]


def test_the_training_is_trainers_history(reported: Reported) -> None:
    history = (reported.folder("Trainer", "model_run") / "history.csv").read_text().splitlines()
    training = reported.page.training
    assert len(training.epochs) == len(history) - 1 == reported.config.training.epochs
    last = dict(zip(history[0].split(","), history[-1].split(","), strict=True))
    assert training.epochs[-1].validation_accuracy == float(last["val_accuracy"])
    assert training.hyperparameters["epochs"] == str(reported.config.training.epochs)


def test_infra_validation_says_which_server_and_how_fast(reported: Reported) -> None:
    blessing = read_blessing(str(reported.folder("InfraValidator", "blessing")))
    shown = reported.page.infra_validation
    assert (shown.server, shown.server_choice) == ("embedded", blessing.server_choice)
    assert {each.signature: (each.p50_ms, each.p99_ms) for each in shown.latency} == {
        name: (latency.p50_ms, latency.p99_ms)
        for name, latency in blessing.measurements.latency.items()
    }
    assert f"{blessing.measurements.memory_megabytes:.0f} MB" in shown.measured.values()


def test_the_push_names_the_bytes_that_are_served(reported: Reported) -> None:
    push, version = reported.page.push, reported.run.result.version
    assert (push.verdict, push.version) == ("pushed", version)
    assert push.checksums == checksums_of(reported.run.serving_dir / str(version))
    assert push.record["run"] == reported.run.result.run_id


def test_the_pushed_models_lineage_leads_back_to_the_data(reported: Reported) -> None:
    steps = {step.artifact: step for step in reported.page.lineage}
    (pushed,) = (step for step in steps.values() if step.type == "PushedModel")
    waiting, types = [pushed.artifact], set()
    while waiting:
        step = steps[waiting.pop()]
        types.add(step.type)
        waiting += step.made_from
    assert types >= {"Model", "InfraBlessing", "ModelEvaluation", "TransformGraph", "Examples"}
    assert {step.run_id for step in steps.values()} == {reported.run.result.run_id}


def test_a_section_that_cannot_be_read_is_left_out_with_a_note(
    reported: Reported, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise FileNotFoundError("history.csv")

    monkeypatch.setattr(collect_module, "read_training", gone)
    page = Page(result=reported.run.result)
    collect_module.collect(page, compile_pipeline(reported.config), reported.evidence)
    assert page.training is None
    assert page.notes == ["This page is without the training (FileNotFoundError: history.csv)."]
    assert page.quality == reported.page.quality


def test_a_calibration_bin_compares_confidence_with_accuracy() -> None:
    probabilities = np.array([[0.9, 0.1], [0.95, 0.05], [0.4, 0.6], [1.0, 0.0]])
    bins = list(answers_section.calibration(probabilities, np.array([0, 1, 1, 0])))
    assert [(part.low, part.images) for part in bins] == [(0.6, 1), (0.9, 3)]
    assert bins[1].accuracy == pytest.approx(2 / 3)
    assert bins[1].confidence == pytest.approx((0.9 + 0.95 + 1.0) / 3)
