#!/usr/bin/env python
"""A Beam worker on a machine that has this project installed, for runners that start their own.

    beam_worker.py --id=ID --control_endpoint=HOST:PORT [...]

It is the executable of Beam's worker pool (`--container_executable`) and of a PROCESS environment,
which give it the flags of Beam's container contract. Those of the other endpoints are accepted and
not needed: code and packages are here already. The first `python` on PATH must be the project's.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Works for the runner until it says that there is no more to do."""
    parser = argparse.ArgumentParser(description="A Beam worker of this project.")
    parser.add_argument("--id", required=True)
    parser.add_argument("--control_endpoint", required=True)
    options, _ = parser.parse_known_args(arguments)
    # TFX stands in for a module that its pickled functions import but no package has any more.
    import tfx  # noqa: F401
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    SdkHarness(options.control_endpoint, worker_id=options.id).run()


if __name__ == "__main__":
    # As a script, Python would find this folder's modules before the project's packages.
    sys.path[0] = str(ROOT)
    main()
