"""The local run itself: the compiled pipeline's nodes, one after the other, in this process."""

import time
from collections.abc import Collection

from tfx.proto.orchestration import pipeline_pb2

from data.spans import Choice
from orchestration.compiler import compile_pipeline
from orchestration.launch import abandon_executions, run_node, without_cache
from orchestration.progress import Progress
from pipeline.fingerprint import run_fingerprint
from pipeline.modeling.determinism import limit_threads
from pipeline.settings.config import Config
from pipeline.tuning.as_settings import without_search, write_snippet
from runs import verdict
from runs.blame import settle_blame
from runs.executions import NodeOutcome, node_ids, with_run_id
from runs.exit_status import NodeState
from runs.result import NodeResult, RunResult


def run_nodes(
    config: Config, result: RunResult, progress: Progress, from_nodes: Collection[str] = ()
) -> None:
    """Runs the nodes in order until the run's verdict is known, and records it in `result`.

    Args:
        config: all settings.
        result: of the run, with the spans that it reads.
        progress: is told what goes on.
        from_nodes: these and what follows them run even if the cache has their outputs.

    Raises:
        UsageError: the pipeline has no such node.
        DataRefused: when ExampleGen or the anomaly gate refuses the data.
        Exception: whatever a node's executor raises.
    """
    limit_threads(config.training.threads)
    spans = Choice(tuple(result.spans), tuple(result.new_spans))
    ir = with_run_id(compile_pipeline(config, result.fingerprint, spans), result.run_id)
    without_cache(ir, from_nodes)
    abandon_executions(ir)
    result.nodes = [NodeResult(id=node_id) for node_id in node_ids(ir)]
    for entry in result.nodes:
        outcome = _run(ir, entry, progress)
        verdict.record(entry.id, outcome.outputs, result, config.data.labels)
        if entry.id == "Tuner":
            write_snippet(config, result.tuned)
            # From here on the run is one that trains with these values, and is found as such.
            result.search_fingerprint = result.fingerprint
            result.fingerprint = run_fingerprint(without_search(config, result.tuned), spans)
        if result.finished_at:
            # Before the verdict is on record: an identical run would only repeat that.
            settle_blame(config.data_root, config.runs_dir, result)
            return
        result.write(config.runs_dir)


def _run(ir: pipeline_pb2.Pipeline, entry: NodeResult, progress: Progress) -> NodeOutcome:
    entry.state = NodeState.RUNNING
    progress.node_started(entry.id)
    started = time.monotonic()
    try:
        outcome = run_node(ir, entry.id)
        entry.state = NodeState.CACHED if outcome.cached else NodeState.DONE
    except BaseException:
        entry.state = NodeState.FAILED
        raise
    finally:
        entry.seconds = round(time.monotonic() - started, 1)
        progress.node_finished(entry)
    return outcome
