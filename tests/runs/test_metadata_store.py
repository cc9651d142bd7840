"""What is kept of what TFX writes; texts survive what ML Metadata breaks on PostgreSQL."""

import pytest
from ml_metadata.proto import metadata_store_pb2, metadata_store_service_pb2

from runs import metadata_store


def execution(text: str) -> metadata_store_pb2.Execution:
    made = metadata_store_pb2.Execution(name=text)
    made.custom_properties["options"].string_value = text
    made.custom_properties["count"].int_value = 3
    return made


@pytest.mark.parametrize("text", ['{"nested": "{\\"a\\": 1}"}', "C:\\data", "plain", ""])
def test_a_text_comes_back_as_it_went(text: str) -> None:
    sent = []

    def store(method: str, request, response) -> None:
        assert method == "PutExecutions"
        sent.append(request)
        response.executions.extend(request.executions)

    request = metadata_store_service_pb2.PutExecutionsRequest(executions=[execution(text)])
    response = metadata_store_service_pb2.GetExecutionsByIDResponse()
    metadata_store._without_backslashes(store, "PutExecutions", request, response)
    assert "\\" not in sent[0].executions[0].custom_properties["options"].string_value
    assert "\\" not in sent[0].executions[0].name
    assert list(response.executions) == [execution(text)]
    assert list(request.executions) == [execution(text)]


def test_descriptions_of_protos_are_left_out() -> None:
    sent = []
    request = metadata_store_service_pb2.PutExecutionRequest(execution=execution("kept"))
    request.execution.custom_properties["__schema__config__"].string_value = "x" * 70_000
    metadata_store._without_descriptors(
        lambda _, message, __: sent.append(message),
        "PutExecution",
        request,
        metadata_store_service_pb2.PutExecutionResponse(),
    )
    assert sent[0].execution == execution("kept")
