"""What infra validation adds to the model server's own start-up and load time, and where it goes.

    python -m benchmarks.infra_validation [--workdir var] [--model-server embedded] [--runs 5]

Validates the newest served version again, with the requests of a run. Prints a table and, with
`--output`, writes the numbers as JSON.
"""

import argparse
import json
import statistics
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from cli.tables.versions import evaluated_examples
from components.examples import read_records, sample_evenly
from components.infra_validator.blessing import Measurements
from components.infra_validator.validation import validate
from pipeline.code_revision import code_revision
from pipeline.infra_validation import validation_spec
from pipeline.settings.load import load_config
from serving.launch.base import ServerKind
from serving.versions.store import VersionStore


def main() -> None:
    """Runs the benchmark."""
    arguments = _arguments()
    config = load_config(workdir=arguments.workdir)
    newest = VersionStore(config.serving_dir).newest_served()
    if newest is None or newest.directory is None:
        raise SystemExit(f"nothing is served from {config.serving_dir}: run the pipeline first")
    spec = validation_spec(config).model_copy(update={"model_server": arguments.model_server})
    records = read_records(evaluated_examples(config.pipeline_root))
    examples = sample_evenly(records, spec.examples)
    measured = []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            blessing = validate(Path(newest.directory), examples, spec, Path(folder) / "stamped")
        if not blessing.blessed:
            raise SystemExit(f"refused: {' '.join(blessing.reasons)}")
        measured.append(blessing.measurements)
    numbers = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "revision": code_revision(),
        "model server": blessing.server_choice,
        "runs": arguments.runs,
        "seconds": _medians(measured),
    }
    print(json.dumps(numbers, indent=2))
    if arguments.output:
        arguments.output.write_text(json.dumps(numbers, indent=2) + "\n")


def _medians(measured: list[Measurements]) -> dict[str, float]:
    steps = list(measured[0].own_seconds)
    medians = {
        step: statistics.median(each.own_seconds[step] for each in measured) for step in steps
    }
    totals = [sum(each.own_seconds.values()) for each in measured]
    waits = {
        "server start to AVAILABLE": [each.start_seconds or 0.0 for each in measured],
        "warmed model to AVAILABLE": [each.reload_seconds or 0.0 for each in measured],
        "added by infra validation": totals,
    }
    medians |= {name: statistics.median(values) for name, values in waits.items()}
    return {name: round(value, 3) for name, value in medians.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workdir", type=Path)
    parser.add_argument("--model-server", type=ServerKind, default=ServerKind.EMBEDDED)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
