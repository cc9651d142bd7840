"""Where the parts of this project lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_WORKDIR = ROOT / "var"
SAMPLE_DATA = ROOT / "data" / "sample"
SCHEMA_FILE = ROOT / "pipeline" / "schema" / "schema.pbtxt"
