"""What each node's result depends on: first-party code, settings and package versions.

TFX's own cache keys see inputs and exec properties but not the code behind them, so every node
carries its fingerprint as an exec property. The check for "nothing to do" reads the same table,
so nothing heavy may be imported here.
"""

import ast
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from data import layout
from data.spans import Choice
from files.memory import FileMemory
from pipeline.settings.config import Config
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.network import custom_module, module_file
from pipeline.settings.paths import ROOT
from serving.launch.base import ServerKind, ServerMissingError
from serving.launch.selection import choose_server

_FIRST_PARTY = ("pipeline", "components", "data", "serving", "files")
_BEAM = ("tfx", "apache-beam")
_AFTER_QUALITY = ("InfraValidator", "Pusher")


def _no_settings(_: Config) -> Any:
    return None


def _schema_digest(config: Config) -> Any:
    return _file_digest(config.schema_file)


def _server_kind(config: Config) -> Any:
    """Returns what `auto` comes to: another server may judge otherwise."""
    settings = config.infra_validation
    if settings.model_server is not ServerKind.AUTO:
        return settings.model_server
    try:
        return choose_server(settings.model_server, settings.docker_image).kind
    except ServerMissingError:
        return None


@dataclass(frozen=True)
class Dependencies:
    """What a node's result depends on besides its input artifacts.

    Attributes:
        modules: first-party modules; those that they import count as well.
        packages: distributions whose version counts.
        settings: the part of the configuration that counts, as JSON-like values.
        network: whether the user's own network and the file of a backbone's weights count.
    """

    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ("tfx",)
    settings: Callable[[Config], Any] = _no_settings
    network: bool = False


NODES = {
    "IdxExampleGen": Dependencies(
        modules=("components.idx_example_gen.component",), packages=(*_BEAM, "numpy", "tensorflow")
    ),
    "StatisticsGen": Dependencies(packages=(*_BEAM, "tensorflow-data-validation")),
    "ImportSchemaGen": Dependencies(settings=_schema_digest),
    "ExampleValidator": Dependencies(packages=("tfx", "tensorflow-data-validation")),
    "ServedModel": Dependencies(modules=("components.served_model.component",)),
    "SpanDistributionValidator": Dependencies(
        modules=("components.span_distribution_validator.component",),
        packages=("tfx", "tensorflow-data-validation"),
        settings=_schema_digest,
    ),
    "AnomalyGate": Dependencies(
        modules=("components.anomaly_gate.component",),
        settings=lambda config: config.data.stop_on_drift,
    ),
    "Transform": Dependencies(
        modules=("pipeline.modeling.preprocessing",),
        packages=(*_BEAM, "tensorflow", "tensorflow-transform"),
        settings=lambda config: config.image_format.model_dump(mode="json"),
    ),
    "Trainer": Dependencies(
        modules=("pipeline.modeling.trainer",),
        packages=("tfx", "tensorflow", "tensorflow-transform", "keras", "numpy", "scipy"),
        settings=lambda config: [
            config.training.model_dump(mode="json"),
            config.serving.default_signature,
            config.serving.image_feature,
            config.data.labels,
            config.data.span_weight,
        ],
        network=True,
    ),
    "Evaluator": Dependencies(
        modules=("pipeline.evaluation", "pipeline.evaluated_model"),
        packages=(*_BEAM, "tensorflow", "tensorflow-model-analysis"),
        settings=lambda config: config.evaluation.model_dump(mode="json"),
    ),
    "ModelDiff": Dependencies(
        modules=("components.model_diff.component",),
        packages=("tfx", "tensorflow"),
        settings=lambda config: [
            config.evaluation.max_churn,
            config.evaluation.max_live_churn,
            config.traffic.replay,
            config.data.labels,
        ],
    ),
    "InfraValidator": Dependencies(
        modules=("components.infra_validator.component", "serving.model_server.__main__"),
        packages=("tfx", "tensorflow", "tensorflow-serving-api"),
        settings=lambda config: [
            config.infra_validation.model_dump(mode="json"),
            config.serving.model_name,
            config.serving.default_signature,
            config.traffic.replay,
            _server_kind(config),
        ],
    ),
    "Pusher": Dependencies(
        modules=("components.pusher.component",),
        settings=lambda config: config.push.model_dump(mode="json"),
    ),
}


# Part of the graph only where hyperparameters are searched.
TUNING_NODES = {
    "Tuner": Dependencies(
        modules=("pipeline.tuning.tuner",),
        packages=(
            *("tfx", "tensorflow", "tensorflow-transform", "keras", "numpy"),
            *("keras-tuner", "scikit-learn", "scipy"),
        ),
        # Time and trials are left out: a longer search goes on where a shorter one ended.
        settings=lambda config: [
            config.training.model_dump(mode="json"),
            config.tuning.model_dump(mode="json", exclude={"minutes", "trials"}),
            config.data.labels,
        ],
        network=True,
    ),
}


def node_fingerprints(config: Config, memory: FileMemory | None = None) -> dict[str, str]:
    """Returns the fingerprint of every node; input artifacts are TFX's to compare.

    Args:
        config: all settings.
        memory: knows the sources that did not change; None: what the last run has left.
    """
    memory = memory or FileMemory(config.file_memory)
    nodes = NODES | TUNING_NODES if config.tuning.enabled else NODES
    packages = {package for needs in nodes.values() for package in needs.packages}
    versions = {package: metadata.version(package) for package in packages}
    return {
        node: _digest(
            [
                module_digests(needs.modules, memory),
                {package: versions[package] for package in needs.packages},
                needs.settings(config),
                _network_digests(config.training, memory) if needs.network else {},
            ]
        )
        for node, needs in nodes.items()
    }


def run_fingerprint(
    config: Config,
    spans: Choice,
    nodes: Mapping[str, str] | None = None,
    memory: FileMemory | None = None,
) -> str:
    """Returns one fingerprint for all that a run's result depends on, the data included.

    Args:
        config: all settings.
        spans: that the run reads.
        nodes: their fingerprints, where they are known already.
        memory: knows the files that did not change; None: what the last run has left.

    Raises:
        OSError: when a data file cannot be read.
    """
    memory = memory or FileMemory(config.file_memory)
    data = layout.resolve(
        config.data_root, spans.spans, spans.new, include_base=config.data.include_base
    )
    return _digest(
        [
            nodes or node_fingerprints(config, memory),
            module_digests(["pipeline.definition"], memory),
            data.fingerprint(memory),
            config.serving_base,
            [config.tuning.minutes, config.tuning.trials] if config.tuning.enabled else None,
        ]
    )


def basis_of(fingerprints: Mapping[str, str]) -> str:
    """Returns one fingerprint for what a model's quality depends on besides the data.

    Settings, code and schema: a run that passed with the same ones shows that they are not to
    blame when another one with other data does not.
    """
    judging = {node: value for node, value in fingerprints.items() if node not in _AFTER_QUALITY}
    return _digest(judging)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _network_digests(training: Hyperparameters, memory: FileMemory) -> dict[str, str]:
    """Returns the SHA-256 of what the network is made of besides this project's code."""
    module = custom_module(training.network)
    digests = module_digests([module], memory, module.partition(".")[0]) if module else {}
    weights = {"weights": memory.sha256(training.weights)} if training.weights else {}
    return digests | weights


def module_digests(
    modules: Iterable[str], memory: FileMemory | None = None, package: str | None = None
) -> dict[str, str]:
    """Returns the SHA-256 of each module's source and of all first-party modules it imports.

    Args:
        modules: to begin with.
        memory: knows the sources that did not change; None: each is read.
        package: a further one that counts as first-party, wherever Python finds it.
    """
    memory = memory or FileMemory()
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        path = _source(module)
        if path is None and module.partition(".")[0] == package:
            path = module_file(module)
        if path is None:
            continue
        found[module] = memory.sha256(path)
        inside = module if path.name == "__init__.py" else module.rpartition(".")[0]
        imports = (
            util.resolve_name(name, inside)
            for name in memory.fact("imports", path, _imports)
            if inside or not name.startswith(".")
        )
        waiting.extend(
            name for name in imports if name.partition(".")[0] in (*_FIRST_PARTY, package)
        )
    return found


def _source(module: str) -> Path | None:
    # A thousand times in a run, mostly for names that are no modules, where a Path is slow.
    base = f"{ROOT}/{module.replace('.', '/')}"
    for path in (f"{base}.py", f"{base}/__init__.py"):
        if os.path.isfile(path):  # noqa: PTH113
            return Path(path)
    return None


def _imports(path: Path) -> list[str]:
    return sorted(set(_imported_names(ast.parse(path.read_text()))))


def _imported_names(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            origin = "." * child.level + (child.module or "")
            yield origin
            dot = "." if child.module else ""
            yield from (f"{origin}{dot}{alias.name}" for alias in child.names)
        else:
            yield from _imported_names(child)
