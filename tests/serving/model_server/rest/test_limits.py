"""Budgets: what is taken comes back, whatever becomes of who took it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.rest.limits import Budget, Claim, TooLargeError


def test_a_claim_comes_back_when_nothing_refers_to_it() -> None:
    budget = Budget(100)
    claim = Claim(budget)
    assert claim.reach(60)
    assert claim.reach(50), "already reached"
    assert budget.held == 60
    del claim
    assert budget.held == 0


def test_what_is_not_left_is_not_taken() -> None:
    budget = Budget(100)
    first, second = Claim(budget), Claim(budget)
    assert first.reach(80)
    assert not second.reach(21)
    assert budget.held == 80
    assert second.reach(20)


def test_a_refusal_tells_not_now_from_never() -> None:
    budget = Budget(100)
    first, second = Claim(budget), Claim(budget)
    first.take(60)
    with pytest.raises(ServingError) as refused:
        second.take(60)
    assert refused.value.code is Code.UNAVAILABLE
    with pytest.raises(TooLargeError):
        second.take(101)


def test_many_threads_take_no_more_than_there_is() -> None:
    budget = Budget(1000)
    enough = threading.Barrier(8)

    def take_all() -> int:
        enough.wait()
        claims = [Claim(budget) for _ in range(400)]
        taken = sum(claim.reach(1) for claim in claims)
        enough.wait()
        return taken

    with ThreadPoolExecutor(8) as pool:
        taken = [pool.submit(take_all) for _ in range(8)]
        assert sum(item.result() for item in taken) == 1000
    assert budget.held == 0
