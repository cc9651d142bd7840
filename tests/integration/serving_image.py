"""Builds, on this machine, an image with tensorflow/serving's interface and the embedded server.

The interface is that of tensorflow_serving/tools/docker/Dockerfile: MODEL_NAME, MODEL_BASE_PATH,
ports 8500 and 8501, and an entry point that hands further arguments on to the server. The base
layer, this interpreter with what the server imports, is built once for a set of versions.
"""

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import docker
from docker.errors import APIError, DockerException, ImageNotFound

REPOSITORY = Path(__file__).parents[2]
IMAGE = "fashion-mnist-test-server:latest"

_PROBE = """
import runpy, sys, threading, time, os, urllib.request
def report():
    url = "http://127.0.0.1:" + sys.argv[2].partition("=")[2] + "/v1/models/grey"
    while True:
        try:
            if b"AVAILABLE" in urllib.request.urlopen(url, timeout=1).read():
                break
        except OSError:
            time.sleep(0.1)
    files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
    files |= {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
    out = os.fdopen(int(os.environ["REPORT_TO"]), "w")
    out.write("\\n".join(sorted(files)))
    out.flush()
    os._exit(0)
threading.Thread(target=report, daemon=True).start()
runpy.run_module("serving.model_server", run_name="__main__", alter_sys=True)
"""

_ENTRY_POINT = f"""#!/bin/sh
exec {sys.executable} -m serving.model_server --port=8500 --rest_api_port=8501 \\
  --model_name="$MODEL_NAME" --model_base_path="$MODEL_BASE_PATH/$MODEL_NAME" "$@"
"""

_DOCKERFILE = """FROM {base}
COPY serving /app/serving
COPY --chmod=755 tf_serving_entrypoint.sh /usr/bin/tf_serving_entrypoint.sh
ENV MODEL_NAME=model MODEL_BASE_PATH=/models PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1
EXPOSE 8500 8501
ENTRYPOINT ["/usr/bin/tf_serving_entrypoint.sh"]
"""


def missing_engine() -> str | None:
    """Returns why there is no Docker engine to test against, or None when one answers."""
    try:
        client = docker.from_env(timeout=2)
        client.ping()
        client.close()
    except (DockerException, OSError) as error:
        return f"no Docker engine answers: {error}"
    return None


def build_image(model_base: Path, port: int) -> str:
    """Builds the image and returns its name.

    Args:
        model_base: a base directory with a model that loads, to see what the server imports.
        port: a free port.
    """
    client = docker.from_env(timeout=600)
    packages = ("tensorflow", "grpcio", "protobuf", "numpy", "uvloop", "orjson", "pydantic")
    versions = ",".join(f"{name}={metadata.version(name)}" for name in packages)
    # The interpreter lies in the image where it lies here, so that its paths stay true.
    made_of = f"{sys.version}{sys.prefix}{versions}"
    key = hashlib.sha256(made_of.encode()).hexdigest()[:12]
    base = f"fashion-mnist-test-server-base:{key}"
    try:
        client.images.get(base)
    except ImageNotFound:
        _import_base(client, base, _loaded_files(model_base, port))
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context.tar"
        with tarfile.open(context, "w") as tar:
            tar.add(REPOSITORY / "serving", "serving", filter=_without_caches)
            _add_text(tar, "tf_serving_entrypoint.sh", _ENTRY_POINT, 0o755)
            _add_text(tar, "Dockerfile", _DOCKERFILE.format(base=base).replace("--chmod=755 ", ""))
        with context.open("rb") as file:
            before = {image.id for image in client.images.list(name=IMAGE)}
            image, _ = client.images.build(fileobj=file, custom_context=True, tag=IMAGE, rm=True)
        for outdated in before - {image.id}:
            with contextlib.suppress(APIError):  # a container of it may still be there
                client.images.remove(outdated)
    client.close()
    return IMAGE


def _loaded_files(model_base: Path, port: int) -> list[Path]:
    read_end, write_end = os.pipe()
    flags = [
        f"--port={port}",
        f"--rest_api_port={port + 1}",
        "--model_name=grey",
        f"--model_base_path={model_base}",
    ]
    # The REST port comes second in sys.argv.
    process = subprocess.Popen(
        [sys.executable, "-c", _PROBE, *flags],
        cwd=REPOSITORY,
        env=os.environ | {"REPORT_TO": str(write_end), "PYTHONPATH": str(REPOSITORY)},
        pass_fds=[write_end],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    with os.fdopen(read_end) as report:
        files = report.read().splitlines()
    process.wait()
    return [Path(name) for name in files if name.startswith("/")]


def _import_base(client: docker.DockerClient, tag: str, loaded: list[Path]) -> None:
    with tempfile.NamedTemporaryFile(suffix=".tar") as file:
        with tarfile.open(fileobj=file, mode="w", dereference=True) as tar:
            for path in sorted(set(_paths(loaded))):
                tar.add(path, str(path).lstrip("/"), filter=_without_caches)
            for folder in ("tmp", "models"):
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777
                tar.addfile(entry)
        file.flush()
        repository, _, version = tag.partition(":")
        client.api.import_image_from_file(file.name, repository=repository, tag=version)


def _paths(loaded: list[Path]) -> Iterator[Path]:
    """Yields interpreter, packages and system libraries, where they lie on this machine."""
    site_packages = Path(docker.__file__).parents[1]
    yield Path(sys.prefix) / "pyvenv.cfg"
    yield from {Path(sys.executable), *Path(sys.prefix, "bin").glob("python*")}
    base = Path(sys.base_prefix)
    yield from (base / "bin").glob("python3*")
    yield from (base / "lib").glob("libpython*")
    yield base / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    inside = (path for path in loaded if path.is_relative_to(site_packages))
    yield from {site_packages / path.relative_to(site_packages).parts[0] for path in inside}
    yield from site_packages.glob("*.libs")
    yield from site_packages.glob("tensorflow-*.dist-info")
    shells = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    words = [Path(word) for word in shells.split() if word.startswith("/")]
    outside = [p for p in loaded if not p.is_relative_to(base) and ".so" in p.name]
    yield Path("/bin/sh")
    for library in {*outside, *words} - {p for p in outside if p.is_relative_to(site_packages)}:
        # Libraries are looked up by their links' names.
        links = (p for p in library.parent.iterdir() if p.resolve() == library.resolve())
        yield from {library, *links}


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(entry.name).parts
    unused = {"__pycache__", "site-packages", "test", "include", "ensurepip", "idlelib"}
    if "site-packages" in parts and parts[-1] != "site-packages":
        unused = {"__pycache__", "include"}
    return None if parts[-1] in unused else entry


def _add_text(tar: tarfile.TarFile, name: str, text: str, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(text.encode()), mode
    tar.addfile(entry, io.BytesIO(text.encode()))
