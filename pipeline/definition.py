"""The pipeline, from IDX files to a served model, readable from top to bottom."""

from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.evaluator.component import Evaluator
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.trainer.component import Trainer
from tfx.components.transform.component import Transform
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import distribution_validator_pb2, trainer_pb2, transform_pb2
from tfx.types import BaseChannel

from components.anomaly_gate.component import AnomalyGate
from components.idx_example_gen.component import IdxExampleGen
from components.infra_validator.component import InfraValidator
from components.model_diff.component import ModelDiff, Recorded
from components.pusher.component import Pusher
from components.served_model.component import ServedModel
from components.span_distribution_validator.component import (
    SpanDistributionValidator,
    slice_by_origin,
)
from data.spans import Choice
from pipeline.code_revision import code_revision
from pipeline.evaluation import EVALUATED_SIGNATURE, eval_config
from pipeline.fingerprint import node_fingerprints
from pipeline.infra_validation import validation_spec
from pipeline.metadata_connection import connection_config
from pipeline.modeling.features import LABEL
from pipeline.names import pipeline_name
from pipeline.settings.config import Config

# TFX stands in for a module that the functions of TensorFlow Data Validation import but no package
# has any more. A Beam worker in another process has to import it before it reads such a function.
_WORKERS_IMPORT_TFX = "--beam_plugins=tfx"


def create_pipeline(
    config: Config,
    run_fingerprint: str | None = None,
    spans: Choice | None = None,
    last_span: RuntimeParameter | None = None,
) -> Pipeline:
    """Builds the graph of nodes; the same one runs locally, under Airflow and under Kubeflow.

    Args:
        config: all settings.
        run_fingerprint: goes into the record of a pushed version; None where the data that a run
            will read is not known yet.
        spans: what the run reads; None: ExampleGen chooses when it runs.
        last_span: lets every run name the newest span that it may read.
    """
    fingerprints = node_fingerprints(config)

    example_gen = IdxExampleGen(
        input_base=str(config.data_root),
        class_count=len(config.data.labels),
        labels=config.data.labels,
        max_pixels=config.serving.max_pixels,
        window=config.data.window,
        last_span=last_span,
        include_base=config.data.include_base,
        serving_dir=config.serving_base,
        spans=spans,
    )
    schema_gen = ImportSchemaGen(schema_file=str(config.schema_file))
    statistics_gen = StatisticsGen(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        stats_options=slice_by_origin(),
    )
    example_validator = ExampleValidator(
        statistics=statistics_gen.outputs["statistics"], schema=schema_gen.outputs["schema"]
    )
    served_model = ServedModel(
        serving_dir=config.serving_base,
        signature=EVALUATED_SIGNATURE if config.evaluation.baseline else None,
        labels=config.data.labels,
        with_newest=config.training.warm_start,
    )
    distribution_validator = SpanDistributionValidator(
        statistics=statistics_gen.outputs["statistics"],
        baseline_statistics=served_model.outputs["statistics"].as_optional(),
        config=_drift_limits(config.schema_file),
        include_split_pairs=[("train", "train")],
        examples=example_gen.outputs["examples"],
    )
    anomaly_gate = AnomalyGate(
        anomalies=example_validator.outputs["anomalies"],
        drift=distribution_validator.outputs["anomalies"],
        statistics=statistics_gen.outputs["statistics"],
        schema=schema_gen.outputs["schema"],
        examples=example_gen.outputs["examples"],
        stop_on_drift=config.data.stop_on_drift,
    )
    transform = Transform(
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        preprocessing_fn="pipeline.modeling.preprocessing.preprocessing_fn",
        custom_config=config.image_format.model_dump(mode="json"),
        splits_config=transform_pb2.SplitsConfig(analyze=["train"]),
        # Trainer applies the graph itself: decoding 60,000 images costs it two seconds, writing
        # and reading them as floats costs far more.
        materialize=False,
        disable_statistics=True,
    )
    transform.add_upstream_node(anomaly_gate)
    # Only then does Trainer depend on what is served.
    base_model = served_model.outputs["newest"] if config.training.warm_start else None
    tuner = (
        _tuner(
            config,
            fingerprints["Tuner"],
            examples=example_gen.outputs["examples"],
            transform_graph=transform.outputs["transform_graph"],
            base_model=base_model,
        )
        if config.tuning.enabled
        else None
    )
    trainer = Trainer(
        run_fn="pipeline.modeling.trainer.run_fn",
        examples=example_gen.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        base_model=base_model,
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["validation"]),
        custom_config={
            "hyperparameters": config.training.model_dump(mode="json"),
            "checkpoints": str(config.workdir / "checkpoints"),
            "default_signature": config.serving.default_signature,
            "image_feature": config.serving.image_feature,
            "labels": list(config.data.labels),
            "span_weight": config.data.span_weight,
            "fingerprint": fingerprints["Trainer"],
        },
    )
    evaluator = Evaluator(
        model=trainer.outputs["model"],
        baseline_model=served_model.outputs["model"] if config.evaluation.baseline else None,
        examples=example_gen.outputs["examples"],
        schema=schema_gen.outputs["schema"],
        eval_config=eval_config(
            config.evaluation,
            has_baseline=config.evaluation.baseline,
            class_count=len(config.data.labels),
        ),
        module_path="pipeline.evaluated_model",
    )
    model_diff = ModelDiff(
        model=trainer.outputs["model"],
        baseline_model=served_model.outputs["model"] if config.evaluation.baseline else None,
        examples=example_gen.outputs["examples"],
        signature=EVALUATED_SIGNATURE,
        labels=list(config.data.labels),
        label_feature=LABEL,
        max_churn=config.evaluation.max_churn,
        recorded=Recorded(
            str(config.recordings_dir), config.serving.model_name, config.traffic.replay
        )
        if config.traffic.replay
        else None,
        max_live_churn=config.evaluation.max_live_churn,
    )
    infra_validator = InfraValidator(
        model=trainer.outputs["model"],
        examples=example_gen.outputs["examples"],
        model_blessing=evaluator.outputs["blessing"],
        diff_blessing=model_diff.outputs["blessing"],
        spec=validation_spec(config),
    )
    pusher = Pusher(
        infra_blessing=infra_validator.outputs["blessing"],
        model_blessing=evaluator.outputs["blessing"],
        diff_blessing=model_diff.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        examples=example_gen.outputs["examples"],
        statistics=statistics_gen.outputs["statistics"],
        destination=config.serving_base,
        keep=config.push.keep,
        file_mode=config.push.file_mode,
        group=config.push.group,
        fail_when_refused=config.push.fail_when_refused,
        code_revision=code_revision(),
        run_fingerprint=run_fingerprint,
        live_server=config.push.live_server,
        live_timeout_seconds=config.push.live_timeout_seconds,
        canary_percent=config.push.canary_percent,
        model_name=config.serving.model_name,
        sign_with=str(config.signing_key) if config.signing_key else None,
    )
    nodes: list[BaseComponent] = [
        example_gen,
        schema_gen,
        statistics_gen,
        example_validator,
        served_model,
        distribution_validator,
        anomaly_gate,
        transform,
        *([tuner] if tuner else []),
        trainer,
        evaluator,
        model_diff,
        infra_validator,
        pusher,
    ]
    for node in nodes:
        # Part of TFX's cache key, which does not see the code behind a node by itself.
        node.spec.exec_properties["fingerprint"] = fingerprints[node.id]
    return Pipeline(
        pipeline_name=pipeline_name(config.serving.model_name),
        pipeline_root=str(config.pipeline_root),
        metadata_connection_config=connection_config(config),
        components=nodes,
        enable_cache=True,
        beam_pipeline_args=[*config.beam.pipeline_args, _WORKERS_IMPORT_TFX],
    )


def _tuner(config: Config, fingerprint: str, **inputs: BaseChannel | None) -> BaseComponent:
    """Makes the node that finds hyperparameters by short trainings on what Trainer trains on."""
    # Imports Keras, which nothing else here needs.
    from tfx.components.tuner.component import Tuner

    return Tuner(
        tuner_fn="pipeline.tuning.tuner.tuner_fn",
        train_args=trainer_pb2.TrainArgs(splits=["train"]),
        eval_args=trainer_pb2.EvalArgs(splits=["validation"]),
        custom_config={
            "hyperparameters": config.training.model_dump(mode="json"),
            "tuning": config.tuning.model_dump(mode="json"),
            "searches": str(config.workdir / "tuning"),
            "labels": list(config.data.labels),
            "fingerprint": fingerprint,
        },
        **inputs,
    )


def _drift_limits(schema_file: Path) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Returns the drift comparators of the curated schema, as DistributionValidator takes them."""
    schema = text_format.Parse(schema_file.read_text(), schema_pb2.Schema())
    limits = distribution_validator_pb2.DistributionValidatorConfig()
    for feature in schema.feature:
        if feature.HasField("drift_comparator"):
            limit = limits.default_slice_config.feature.add()
            limit.path.step.append(feature.name)
            limit.distribution_comparator.CopyFrom(feature.drift_comparator)
    return limits
