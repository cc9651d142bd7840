"""Which revision of the code is running."""

import subprocess

from pipeline.settings.paths import ROOT


def code_revision() -> str:
    """Returns git's name for the revision, with `-dirty` for changes; empty outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
