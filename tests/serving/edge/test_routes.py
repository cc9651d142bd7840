"""Which clients meet the canary: files that nginx looks for."""

from pathlib import Path

import pytest

from serving.edge.routes import BUCKETS, Routes


@pytest.fixture
def routes(tmp_path: Path) -> Routes:
    return Routes(tmp_path)


def buckets(routes: Routes) -> set[int]:
    return {bucket for bucket in range(BUCKETS) if (routes.canary / str(bucket)).exists()}


def test_a_larger_share_holds_all_of_a_smaller_one(routes: Routes) -> None:
    routes.show(pinned=True, percent=7)
    few = buckets(routes)
    routes.show(pinned=True, percent=30)
    assert few < buckets(routes)
    assert routes.percent() == 30


def test_a_smaller_share_takes_buckets_away(routes: Routes) -> None:
    routes.show(pinned=True, percent=100)
    routes.show(pinned=True, percent=1)
    assert buckets(routes) == {0}


def test_what_an_interruption_left_is_completed(routes: Routes) -> None:
    routes.show(pinned=True, percent=50)
    (routes.canary / "17").unlink()
    (routes.canary / "90").touch()
    routes.show(pinned=True, percent=50)
    assert buckets(routes) == set(range(50))


def test_the_pin_goes_last_so_that_nobody_meets_the_newest_too_early(
    routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes.show(pinned=True, percent=3)
    removed: list[str] = []
    unlink = Path.unlink

    def noted(path: Path, missing_ok: bool = False) -> None:
        removed.append(path.name)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", noted)
    routes.show(pinned=False, percent=0)
    assert removed == ["0", "1", "2", "pinned"]


def test_other_users_such_as_nginx_in_a_container_may_look(routes: Routes) -> None:
    routes.show(pinned=True, percent=1)
    assert routes.canary.stat().st_mode & 0o055 == 0o055
    assert routes.pinned.stat().st_mode & 0o044 == 0o044
