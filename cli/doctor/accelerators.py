"""GPUs, and whether TensorFlow could use them."""

import re
import sys
from pathlib import Path

from cli.doctor.finding import Finding, State
from cli.doctor.packages import installed_versions
from pipeline.settings.config import Config

# The largest of what `uv sync --extra cuda` installs.
_CUDA_PACKAGE = "nvidia-cudnn-cu12"


def accelerators(_config: Config) -> list[Finding]:
    """What training runs on: NVIDIA's GPUs, if driver and packages are there."""
    has_packages = _CUDA_PACKAGE in installed_versions(map(Path, sys.path))
    return [judge_gpus(Path("/"), has_packages=has_packages)]


def judge_gpus(root: Path, *, has_packages: bool) -> Finding:
    """Judges what NVIDIA's driver shows below the root of the file system."""
    driver, devices = root / "proc/driver/nvidia", list((root / "dev").glob("nvidia[0-9]*"))
    if not devices and driver.exists():
        return Finding(
            subject="GPU",
            state=State.WARNING,
            text="NVIDIA's driver is here and no device of it: training takes the processors",
            advice="a container gets them by `docker run --gpus all`",
        )
    if not devices:
        return Finding(subject="GPU", state=State.OK, text="none: training takes the processors")
    found = f"{len(devices)} of NVIDIA's{_models(driver)}"
    if not has_packages:
        return Finding(
            subject="GPU",
            state=State.WARNING,
            text=f"{found}, but TensorFlow lacks CUDA: training takes the processors",
            advice="`uv sync --extra cuda` installs what it needs",
        )
    return Finding(subject="GPU", state=State.OK, text=f"{found}: training takes them")


def _models(driver: Path) -> str:
    texts = [path.read_text() for path in sorted(driver.glob("gpus/*/information"))]
    models = {match[1] for text in texts if (match := re.search(r"Model:\s*(.+)", text))}
    return f" ({', '.join(sorted(models))})" if models else ""
