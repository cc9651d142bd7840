"""The REST client needs no TensorFlow."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def test_the_rest_client_imports_no_tensorflow() -> None:
    code = (
        "import sys; from serving.client.rest_client import RestClient;"
        "sys.exit(any(name.partition('.')[0] in ('tensorflow', 'grpc') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
