# The image of every step that Kubeflow Pipelines runs (docs/kubeflow.md), and of the edge in front of
# a model server (docs/howto/deploy.md), with exactly the packages of uv.lock. No entry point: Kubeflow and kfp's local runner give the whole command.
# Some of the packages come as source; the compiler for them stays in the first stage.
ARG BUILD_IMAGE=python:3.11-bookworm
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${BUILD_IMAGE} AS packages
ARG UV_VERSION=0.13.8
RUN pip install --no-cache-dir uv==${UV_VERSION}
WORKDIR /app
ENV UV_PROJECT_ENVIRONMENT=/opt/venv UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never \
    UV_COMPILE_BYTECODE=1
COPY pyproject.toml uv.lock .python-version ./
RUN uv sync --locked --no-dev --group kubeflow

FROM ${PYTHON_IMAGE}
RUN apt-get update && apt-get install --yes --no-install-recommends nginx-light \
    && rm -rf /var/lib/apt/lists/*
COPY --from=packages /opt/venv /opt/venv
WORKDIR /app
COPY . .
# Code and packages stay root's. Written are the workdir (by default, or where Kubeflow mounts the
# volume) and the folders in which Kubeflow's launcher keeps copies of artifacts.
RUN useradd --uid 10001 --create-home pipeline \
    && install --directory --owner=10001 --group=10001 /app/var /mnt/fashion-mnist /minio /s3 /gcs
USER 10001:10001
VOLUME /app/var
ENV PATH=/opt/venv/bin:${PATH} PYTHONPATH=/app PYTHONUNBUFFERED=1 HOME=/home/pipeline
CMD ["python", "runner.py", "--help"]
