"""What the backend hands over reaches TFX, and the other way round, with nothing lost."""

import copy

import pytest

from orchestration.kubeflow import invocation

MODEL = {"instanceSchema": "title: tfx.Model\ntype: object\n"}
INPUTS = {"artifacts": {"model": {"artifactType": MODEL}}}


def invoked(metadata: dict[str, object] | None = None) -> invocation.Json:
    model = {"name": "7", "uri": "minio://mlpipeline/v2/artifacts/run/trainer/model"}
    return {
        "inputs": {
            "parameterValues": {"keep": 5.0},
            "artifacts": {"model": {"artifacts": [model | {"metadata": metadata or {}}]}},
        },
        "outputs": {
            "artifacts": {
                "blessing": {"artifacts": [{"uri": "s3://bucket/run/blessing", "type": MODEL}]},
                "executor-logs": {"artifacts": [{"uri": "s3://bucket/run/executor-logs"}]},
            },
            "outputFile": "/tmp/kfp_outputs/output_metadata.json",
        },
    }


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("minio://mlpipeline/v2/artifacts/x", "/minio/mlpipeline/v2/artifacts/x"),
        ("s3://bucket/x", "/s3/bucket/x"),
        ("gs://bucket/x/", "/gcs/bucket/x"),
        ("/tmp/local/x", "/tmp/local/x"),
    ],
)
def test_artifacts_lie_where_the_launcher_puts_them(uri: str, path: str) -> None:
    assert invocation.local_path(uri) == path


def test_inputs_get_their_paths_and_the_types_that_the_backend_lost() -> None:
    given = invoked()
    before = copy.deepcopy(given)
    readable = invocation.readable_by_tfx(given, INPUTS)
    assert readable["inputs"]["artifacts"]["model"]["artifacts"] == [
        {
            "name": "7",
            "uri": "/minio/mlpipeline/v2/artifacts/run/trainer/model",
            "type": MODEL,
            "metadata": {},
        }
    ]
    assert readable["inputs"]["parameterValues"] == {"keep": 5.0}
    assert given == before


def test_the_backends_own_log_output_is_left_out() -> None:
    readable = invocation.readable_by_tfx(invoked(), INPUTS)
    assert list(readable["outputs"]["artifacts"]) == ["blessing"]
    assert readable["outputs"]["outputFile"] == "/tmp/kfp_outputs/output_metadata.json"


def test_outputs_go_back_under_the_uris_that_were_given() -> None:
    output = {
        "artifacts": {
            "blessing": {"artifacts": [{"uri": "/s3/bucket/run/blessing", "metadata": {"a": 1}}]}
        }
    }
    assert invocation.readable_by_backend(output, invoked(), []) == {
        "artifacts": {
            "blessing": {"artifacts": [{"uri": "s3://bucket/run/blessing", "metadata": {"a": 1}}]}
        }
    }


def test_a_withdrawn_output_is_no_input_of_the_next_node() -> None:
    output = {"artifacts": {"blessing": {"artifacts": [{"uri": "/s3/bucket/run/blessing"}]}}}
    handed_on = invocation.readable_by_backend(output, invoked(), ["blessing"])
    metadata = handed_on["artifacts"]["blessing"]["artifacts"][0]["metadata"]
    readable = invocation.readable_by_tfx(invoked(metadata), INPUTS)
    assert readable["inputs"]["artifacts"]["model"]["artifacts"] == []
