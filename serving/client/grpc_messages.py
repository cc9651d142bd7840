"""TensorFlow Serving's messages and stubs, imported without TensorFlow.

Their modules lie in the package `tensorflow`, which loads its runtime for seconds when it is
imported. They do not use it: here the package is, for the length of their import, no more than the
folder that holds them. TensorFlow itself can be imported afterwards, and then uses these modules.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def _folder_only(package: str) -> Iterator[None]:
    """Lets modules of a package be imported without the package's own code."""
    spec = None if package in sys.modules else importlib.util.find_spec(package)
    if spec is None:
        yield
        return
    folder = ModuleType(package)
    folder.__path__ = list(spec.submodule_search_locations or [])
    sys.modules[package] = folder
    try:
        yield
    finally:
        del sys.modules[package]


with _folder_only("tensorflow"):
    from tensorflow.core.example import example_pb2
    from tensorflow.core.framework import types_pb2
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

__all__ = [
    "classification_pb2",
    "example_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "model_service_pb2_grpc",
    "predict_pb2",
    "prediction_service_pb2_grpc",
    "types_pb2",
]
