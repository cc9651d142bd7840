"""Where soak tests leave their numbers."""

import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


def write_result(name: str, numbers: dict[str, Any]) -> None:
    """Writes `benchmarks/results/<name>.json` with the date, the revision and the machine."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    ).stdout.strip()
    result = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "revision": revision,
        "machine": f"{platform.machine()}, {platform.system()}",
        **numbers,
    }
    path = REPOSITORY / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
