"""Requests from examples, for every signature, in both protocols; and as warmup records."""

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import classification_pb2, predict_pb2

from components.examples import as_example
from components.infra_validator.model_refused import ModelRefusedError
from components.infra_validator.requests import RequestBuilder
from components.infra_validator.rest import rest_answer, rest_body, rest_path
from components.infra_validator.saved_model import InProcessModel, read_signatures
from components.infra_validator.spec import Method, SignatureRequest
from components.infra_validator.warmup_requests import MAX_RECORDS, read_warmup, write_warmup
from tests.tiny_models import LABELS, GreyClassifier, grey_examples, grey_spec, save


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(GreyClassifier(), tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def builder(model: Path) -> RequestBuilder:
    spec = grey_spec()
    return RequestBuilder(spec, read_signatures(model, spec), grey_examples(5))


def test_requests_of_a_size_cover_the_examples_once(builder: RequestBuilder) -> None:
    assert [call.rows for call in builder.calls("classify", 2)] == [
        slice(0, 2),
        slice(2, 4),
        slice(4, 5),
    ]


def test_classify_sends_the_examples_without_what_a_client_does_not_know(
    builder: RequestBuilder,
) -> None:
    request = builder.calls("classify", 2)[0].request

    assert isinstance(request, classification_pb2.ClassificationRequest)
    examples = request.input.example_list.examples
    assert [list(example.features.feature) for example in examples] == [["image"], ["image"]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_pixels_of_what_is_transparent_are_white_as_the_graph_has_them(
    model: Path, mode: str
) -> None:
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    picture.putpixel((1, 1), (0, 0, 0, 255))
    encoded = BytesIO()
    picture.convert(mode).save(encoded, "PNG")
    spec = grey_spec()
    signatures = read_signatures(model, spec)
    [call] = RequestBuilder(spec, signatures, [as_example(encoded.getvalue())]).calls(
        "predict_images", 1
    )
    pixels = call.inputs["images"][0, ..., 0]
    assert pixels[1, 1] == 0
    assert pixels.sum() == 15 * 255


def test_pixels_have_the_shape_and_type_of_the_input(builder: RequestBuilder) -> None:
    request = builder.calls("predict_images", 5)[0].request

    assert isinstance(request, predict_pb2.PredictRequest)
    pixels = tf.make_ndarray(request.inputs["images"])
    assert pixels.shape == (5, 4, 4, 1)
    assert pixels.dtype == np.float32
    assert pixels[4, 1, 1, 0] == 255


@pytest.mark.parametrize(
    ("signature", "path"),
    [("classify", "/v1/models/grey:classify"), ("predict_bytes", "/v1/models/grey:predict")],
)
def test_rest_posts_to_the_verb_of_the_method(
    builder: RequestBuilder, signature: str, path: str
) -> None:
    assert rest_path(builder.calls(signature, 1)[0].request) == path


def test_rest_sends_bytes_as_base64(builder: RequestBuilder) -> None:
    predict = builder.calls("predict_bytes", 1)[0]
    classify = builder.calls("classify", 1)[0]
    encoded = {"b64": base64.b64encode(predict.inputs["image_bytes"][0]).decode()}

    assert rest_body(predict.request) == {
        "signature_name": "predict_bytes",
        "inputs": {"image_bytes": [encoded]},
    }
    assert rest_body(classify.request) == {
        "signature_name": "classify",
        "examples": [{"image": encoded}],
    }


def test_rest_answers_become_arrays_by_output_name(builder: RequestBuilder) -> None:
    predict = builder.calls("predict_bytes", 1)[0].request
    classify = builder.calls("classify", 1)[0].request

    assert rest_answer(predict, {"outputs": [[0.5, 0.5]]}, ["p"])["p"].tolist() == [[0.5, 0.5]]
    ranking = rest_answer(classify, {"results": [[["a", 0.75], ["b", 0.25]]]}, [])
    assert ranking["classes"].tolist() == [["a", "b"]]
    assert ranking["scores"].tolist() == [[0.75, 0.25]]


@pytest.mark.parametrize("signature", list(grey_spec().requests))
def test_every_signature_answers_in_this_process(
    model: Path, builder: RequestBuilder, signature: str
) -> None:
    answer = InProcessModel(model).answer(builder.calls(signature, 5)[0])
    best = answer["classes"][:, 0] if "classes" in answer else answer["label"]

    assert [label.decode() for label in best] == LABELS


def test_warmup_records_are_read_back_and_are_the_same_bytes_every_time(
    builder: RequestBuilder, tmp_path: Path
) -> None:
    requests = [
        builder.calls(name, size)[0].request for name in grey_spec().requests for size in (1, 5)
    ]

    assert write_warmup(tmp_path, requests) == 10
    first = (tmp_path / "assets.extra" / "tf_serving_warmup_requests").read_bytes()
    assert list(read_warmup(tmp_path)) == requests
    write_warmup(tmp_path, requests)
    assert (tmp_path / "assets.extra" / "tf_serving_warmup_requests").read_bytes() == first


def test_no_more_warmup_records_are_written_than_a_server_takes(
    builder: RequestBuilder, tmp_path: Path
) -> None:
    request = builder.calls("classify", 1)[0].request

    assert write_warmup(tmp_path, [request] * (MAX_RECORDS + 1)) == MAX_RECORDS
    assert sum(1 for _ in read_warmup(tmp_path)) == MAX_RECORDS


def test_a_signature_without_a_configured_request_is_refused(model: Path) -> None:
    requests = dict(grey_spec().requests)
    del requests["predict_bytes"]

    with pytest.raises(ModelRefusedError, match="predict_bytes is in the model, but no request"):
        read_signatures(model, grey_spec(requests=requests))


def test_inputs_of_another_name_are_refused(model: Path) -> None:
    source = grey_spec().requests["predict_examples"].inputs["examples"]
    renamed = SignatureRequest(method=Method.PREDICT, inputs={"records": source})
    requests = grey_spec().requests | {"predict_examples": renamed}

    with pytest.raises(ModelRefusedError, match=r"has inputs \['examples'\], expected"):
        read_signatures(model, grey_spec(requests=requests))
