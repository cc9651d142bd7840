"""The metrics page: TensorFlow Serving's names, labels, buckets and text form."""

import re

from serving.model_server.errors import Code
from serving.model_server.metrics import UNKNOWN_MODEL, Metrics

# The bounds that a real server prints for request_latency (microseconds).
LATENCY_BOUNDS = """
    10 18 32.4 58.32 104.976 188.957 340.122 612.22 1102 1983.59 3570.47 6426.84 11568.3 20823
    37481.3 67466.4 121440 218591 393464 708235 1.27482e+06 2.29468e+06 4.13043e+06 7.43477e+06
    1.33826e+07 2.40887e+07 4.33596e+07 7.80473e+07 1.40485e+08 2.52873e+08 4.55172e+08
    8.19309e+08 1.47476e+09 +Inf
""".split()  # noqa: SIM905

TYPES = {
    ":tensorflow:cc:saved_model:load_attempt_count": "counter",
    ":tensorflow:cc:saved_model:load_latency": "counter",
    ":tensorflow:cc:saved_model:load_latency_by_stage": "histogram",
    ":tensorflow:serving:batching_session:queuing_latency": "histogram",
    ":tensorflow:serving:batching_session:wrapped_run_count": "counter",
    ":tensorflow:serving:mlmd_map": "gauge",
    ":tensorflow:serving:model_warmup_latency": "histogram",
    ":tensorflow:serving:model_warmup_records_read": "counter",
    ":tensorflow:serving:request_count": "counter",
    ":tensorflow:serving:request_example_count_total": "counter",
    ":tensorflow:serving:request_example_counts": "histogram",
    ":tensorflow:serving:request_latency": "histogram",
    ":tensorflow:serving:request_log_count": "counter",
    ":tensorflow:serving:runtime_latency": "histogram",
}


def test_every_metric_has_its_type_line_in_order_before_it_has_values() -> None:
    expected = [f"# TYPE {name} {kind}" for name, kind in TYPES.items()]
    assert Metrics().text().splitlines() == expected


def test_a_request_is_counted_by_model_and_status() -> None:
    metrics = Metrics()
    metrics.record_request("m", "Predict", "GRPC", Code.OK, 57.6)
    metrics.record_request("m", "Predict", "GRPC", Code.NOT_FOUND, 20)
    lines = metrics.text().splitlines()
    assert ':tensorflow:serving:request_count{model_name="m",status="NOT_FOUND"} 1' in lines
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 1' in lines
    labels = 'model_name="m",API="Predict",entrypoint="GRPC"'
    assert f":tensorflow:serving:request_latency_sum{{{labels}}} 58" in lines
    assert f":tensorflow:serving:request_latency_count{{{labels}}} 1" in lines


def test_latency_buckets_are_the_real_servers() -> None:
    metrics = Metrics()
    metrics.record_request("m", "predict", "REST", Code.OK, 50)
    buckets = re.findall(
        r':tensorflow:serving:request_latency_bucket\{model_name="m",API="predict",'
        r'entrypoint="REST",le="([^"]+)"\} (\d+)',
        metrics.text(),
    )
    assert [bound for bound, _ in buckets] == LATENCY_BOUNDS
    assert [int(count) for _, count in buckets] == [0] * 3 + [1] * (len(LATENCY_BOUNDS) - 3)


def test_label_values_are_escaped() -> None:
    metrics = Metrics()
    metrics.requests.add('a"b\\c\n', "OK")
    assert 'model_name="a\\"b\\\\c\\n"' in metrics.text()


def test_a_counter_can_be_read_by_its_name() -> None:
    metrics = Metrics()
    metrics.requests.add("m", "OK", by=3)
    assert metrics.counter_value("/tensorflow/serving/request_count") == 3
    assert metrics.counter_value("/tensorflow/serving/nothing") == 0


def test_models_that_clients_invent_share_one_label() -> None:
    metrics = Metrics()
    metrics.know_models(["m"])
    for number in range(1000):
        metrics.record_request(f"invented-{number}", "predict", "REST", Code.NOT_FOUND, 10)
    metrics.record_request("m", "predict", "REST", Code.OK, 10)
    metrics.record_request("", "", "REST", Code.INVALID_ARGUMENT, 10)
    text = metrics.text()
    assert f'request_count{{model_name="{UNKNOWN_MODEL}",status="NOT_FOUND"}} 1000' in text
    assert 'request_count{model_name="m",status="OK"} 1' in text
    assert 'request_count{model_name="",status="INVALID_ARGUMENT"} 1' in text
    assert "invented" not in text


def test_a_model_that_was_served_once_keeps_its_label() -> None:
    metrics = Metrics()
    metrics.know_models(["old"])
    metrics.know_models(["new"])
    metrics.record_request("old", "predict", "REST", Code.NOT_FOUND, 10)
    assert 'model_name="old"' in metrics.text()


def test_the_number_of_cells_is_bounded_and_nothing_is_lost() -> None:
    metrics = Metrics()
    for number in range(10_000):
        metrics.load_attempts.add(f"/models/{number}", "success")
        metrics.warmup_latency.observe(f"/models/{number}", "success", value=1)
    text = metrics.text()
    counts = re.findall(r"load_attempt_count\{.*\} (\d+)", text)
    assert len(counts) <= 2001
    assert sum(map(int, counts)) == 10_000
    assert sum(map(int, re.findall(r"warmup_latency_count\{.*\} (\d+)", text))) == 10_000
