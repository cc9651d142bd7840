"""Quick imports: no garbage is collected meanwhile, whatever happens, and modules never are."""

import gc

import pytest

from serving.quick_imports import quick_imports


@pytest.fixture(autouse=True)
def as_before():
    yield
    gc.unfreeze()


def test_garbage_is_collected_again_afterwards() -> None:
    with quick_imports():
        assert not gc.isenabled()
        imported = [object()]
    assert gc.isenabled()
    assert not any(each is imported for each in gc.get_objects())


def test_a_failing_import_leaves_the_collector_on() -> None:
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert gc.isenabled()
