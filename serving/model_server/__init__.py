"""A model server that speaks TensorFlow Serving's gRPC and REST APIs, on the TensorFlow runtime.

The parts carry TensorFlow Serving's names: a source (`source.py`) polls the file system for
versions, a loader (`loader.py`) makes a servable (`servable.py`) of each, a manager (`manager.py`)
decides what is loaded, and the core (`core.py`) is what gRPC (`grpc_services.py`) and REST
(`rest/`) ask. Start it with `python -m serving.model_server`; see docs/model_server.md.
"""
