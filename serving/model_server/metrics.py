"""TensorFlow Serving's metrics, with its names, labels, buckets and text form.

The text is what `tensorflow_serving/util/prometheus_exporter.cc` writes: names start with a colon
(a metric `/tensorflow/serving/x` becomes `:tensorflow:serving:x`), every known metric has a
`# TYPE` line even while it has no values, and latencies are microseconds.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from serving.model_server.errors import Code

TEXT_CONTENT_TYPE = "text/plain"


def _exponential_bounds(scale: float, growth: float, count: int) -> list[float]:
    """Upper bounds of `tsl::monitoring::Buckets::Exponential`, without the last, infinite one."""
    return [scale * growth**power for power in range(count)]


_LATENCY_BOUNDS = _exponential_bounds(10, 1.8, 33)
_EXAMPLE_COUNT_BOUNDS = _exponential_bounds(1, 2, 15)

UNKNOWN_MODEL = "(unknown)"
"""The label that all models share which are not configured: clients can invent any number."""
_MAX_CELLS = 2000
_ALL_OTHERS = "(others)"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class _Metric:
    """Cells of one metric by label values; subclasses say what a cell holds."""

    kind = ""
    _cells: dict[tuple[str, ...], Any]

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        self.name = name
        self._exported_name = name.replace("/", ":")
        self._labels = tuple(labels)
        self._lock = threading.Lock()

    def lines(self) -> Iterator[str]:
        yield f"# TYPE {self._exported_name} {self.kind}"

    def _bounded(self, values: tuple[str, ...]) -> tuple[str, ...]:
        """The cell for new `values`; past `_MAX_CELLS`, they all go into one."""
        return values if len(self._cells) < _MAX_CELLS else (_ALL_OTHERS,) * len(values)

    def _labels_text(self, values: Sequence[str]) -> str:
        return ",".join(
            f'{name}="{_escape(value)}"' for name, value in zip(self._labels, values, strict=True)
        )


class Counter(_Metric):
    """A number per label values that only grows."""

    kind = "counter"

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        super().__init__(name, labels)
        self._cells = {}

    def add(self, *values: str, by: int = 1) -> None:
        with self._lock:
            if values not in self._cells:
                values = self._bounded(values)
            self._cells[values] = self._cells.get(values, 0) + by

    def first_value(self) -> int:
        """The value of the first cell, 0 without cells: what ReloadConfigRequest's metrics read."""
        with self._lock:
            return int(min(self._cells.items(), default=((), 0))[1])

    def lines(self) -> Iterator[str]:
        yield from super().lines()
        with self._lock:
            cells = sorted(self._cells.items())
        for values, number in cells:
            yield f"{self._exported_name}{{{self._labels_text(values)}}} {number}"


class Gauge(Counter):
    """A metric that is exported, but that this server has no values for."""

    kind = "gauge"


class Histogram(_Metric):
    """Counts of observed values per bucket, their sum and their number, per label values."""

    kind = "histogram"

    def __init__(self, name: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        super().__init__(name, labels)
        self._bounds = list(bounds)
        self._cells = {}

    def observe(self, *values: str, value: float) -> None:
        """Counts `value` (microseconds for latencies) in the cell of the given label values."""
        bucket = bisect.bisect_right(self._bounds, value)
        with self._lock:
            cell = self._cells.get(values)
            if cell is None:
                empty = ([0] * (len(self._bounds) + 1), [0.0])
                cell = self._cells.setdefault(self._bounded(values), empty)
            cell[0][bucket] += 1
            cell[1][0] += value

    def lines(self) -> Iterator[str]:
        yield from super().lines()
        with self._lock:
            cells = sorted(
                (values, list(cell[0]), cell[1][0]) for values, cell in self._cells.items()
            )
        for values, counts, total in cells:
            yield from self._cell_lines(self._labels_text(values), counts, total)

    def _cell_lines(self, labels: str, counts: list[int], total: float) -> Iterator[str]:
        separator = "," if labels else ""
        cumulative = 0
        for bound, count in zip([*self._bounds, float("inf")], counts, strict=True):
            cumulative += count
            text = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield (f'{self._exported_name}_bucket{{{labels}{separator}le="{text}"}} {cumulative}')
        yield f"{self._exported_name}_sum{{{labels}}} {total:g}"
        yield f"{self._exported_name}_count{{{labels}}} {cumulative}"


class Metrics:
    """All metrics of one server process."""

    def __init__(self) -> None:
        self._models: set[str] | None = None
        serving, saved_model = "/tensorflow/serving", "/tensorflow/cc/saved_model"
        request_labels = ("model_name", "API", "entrypoint")
        self.load_attempts = Counter(f"{saved_model}/load_attempt_count", ("model_path", "status"))
        self.load_latency = Counter(f"{saved_model}/load_latency", ("model_path",))
        self.load_latency_by_stage = Histogram(
            f"{saved_model}/load_latency_by_stage", ("model_path", "stage"), _LATENCY_BOUNDS
        )
        self.batch_queuing_latency = Histogram(
            f"{serving}/batching_session/queuing_latency", ("thread_pool_name",), _LATENCY_BOUNDS
        )
        self.batch_wrapped_runs = Counter(f"{serving}/batching_session/wrapped_run_count", ())
        self.model_metadata = Gauge(f"{serving}/mlmd_map", ("model_name", "version", "mlmd_uuid"))
        self.warmup_latency = Histogram(
            f"{serving}/model_warmup_latency", ("model_path", "status"), _LATENCY_BOUNDS
        )
        self.warmup_records = Counter(
            f"{serving}/model_warmup_records_read", ("model_path", "status")
        )
        self.requests = Counter(f"{serving}/request_count", ("model_name", "status"))
        self.examples = Counter(f"{serving}/request_example_count_total", ("model",))
        self.examples_per_request = Histogram(
            f"{serving}/request_example_counts", ("model",), _EXAMPLE_COUNT_BOUNDS
        )
        self.request_latency = Histogram(
            f"{serving}/request_latency", request_labels, _LATENCY_BOUNDS
        )
        self.request_logs = Counter(f"{serving}/request_log_count", ("model_name", "status_code"))
        self.runtime_latency = Histogram(
            f"{serving}/runtime_latency", ("model_name", "API", "runtime"), _LATENCY_BOUNDS
        )
        self._all: list[_Metric] = sorted(
            (metric for metric in vars(self).values() if isinstance(metric, _Metric)),
            key=lambda metric: metric.name,
        )

    def know_models(self, names: Iterable[str]) -> None:
        """From now on, requests for models that were never named here share one label."""
        self._models = {"", *(self._models or ()), *names}

    def record_request(
        self, model_name: str, api: str, entrypoint: str, code: Code, micros: float
    ) -> None:
        """Counts an inference request; only an OK one counts for the latency.

        `api` is `Predict`, `Classify`, `Regress` with entrypoint `GRPC`, and what follows the colon
        of the path (`predict`, or empty for status and metadata) with entrypoint `REST`.
        """
        if self._models is not None and model_name not in self._models:
            model_name = UNKNOWN_MODEL
        if code is Code.OK:
            self.request_latency.observe(model_name, api, entrypoint, value=round(micros))
        self.requests.add(model_name, code.name)

    def counter_value(self, name: str) -> int:
        """The value of the counter `name` (with slashes, as in ReloadConfigRequest), else 0."""
        for metric in self._all:
            if metric.name == name and isinstance(metric, Counter):
                return metric.first_value()
        return 0

    def text(self) -> str:
        """The page that Prometheus scrapes."""
        return "\n".join(line for metric in self._all for line in metric.lines()) + "\n"
