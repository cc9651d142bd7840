"""bfloat16 is chosen where processor or GPU is the faster for it."""

from pathlib import Path

import pytest

from pipeline.modeling import precision
from pipeline.modeling.precision import training_policy
from pipeline.settings.hyperparameters import Precision

F32, BF16 = Precision.FLOAT32, Precision.MIXED_BFLOAT16


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_bf16 amx_tile", BF16),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", F32),
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", BF16),
        ("vendor_id : AuthenticAMD\nflags : avx2", F32),
        ("", F32),
    ],
)
def test_auto_follows_the_processor(
    cpuinfo: str, expected: Precision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert training_policy(Precision.AUTO, tmp_path / "cpuinfo") is expected


def test_without_cpuinfo_or_on_another_architecture_it_is_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert training_policy(Precision.AUTO, tmp_path / "none") is F32
    monkeypatch.setattr(precision.platform, "machine", lambda: "aarch64")
    (tmp_path / "cpuinfo").write_text("flags : amx_bf16")
    assert training_policy(Precision.AUTO, tmp_path / "cpuinfo") is F32


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [([(9, 0)], BF16), ([(8, 0), (8, 6)], BF16), ([(7, 5)], F32), ([(9, 0), (7, 0)], F32)],
)
def test_a_gpu_decides_whatever_the_processor(
    gpus: list[tuple[int, int]], expected: Precision, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text("flags : amx_bf16")
    assert training_policy(Precision.AUTO, tmp_path / "cpuinfo", gpus) is expected


@pytest.mark.parametrize("asked", [F32, BF16])
def test_what_is_asked_for_is_taken(asked: Precision, tmp_path: Path) -> None:
    assert training_policy(asked, tmp_path / "none") is asked
