"""Labels (`stable`, `canary`) and the `models.config` that a running server re-reads.

TensorFlow Serving assigns a label only to a version that it has loaded, so a label moves in two
steps: the first file lists the version, the second one points the label at it. The version that
the label leaves stays listed until the next change, so that no request meets a gap. Listed are
`specific` versions, because the default policy loads the newest one only.
"""

import json
import logging
import re
from collections.abc import Callable
from functools import partial

from pydantic import BaseModel, Field

from serving.versions.journal import Action, Entry, write_entry
from serving.versions.store import VersionStore

logger = logging.getLogger(__name__)

CONFIG_NAME = "models.config"
_LABELS = ".versions/labels.json"


class Labels(BaseModel):
    """What `models.config` is generated from.

    Attributes:
        model_name: the name under which the server serves the model.
        base_path: the base directory as the server sees it, in a container or on the host.
        labels: version by label.
        leaving: versions that are listed once more because requests may still name them.
    """

    model_name: str
    base_path: str
    labels: dict[str, int] = Field(default_factory=dict)
    leaving: list[int] = Field(default_factory=list)


class UnknownVersionError(ValueError):
    """A version was named that cannot be served."""


def read_labels(store: VersionStore) -> Labels | None:
    """Returns the labels of a model, or None while it has no `models.config`."""
    try:
        text = store.storage.read(_LABELS)
        return Labels.model_validate_json(text) if text is not None else None
    except NotADirectoryError:
        raise  # a base directory that is a file is not damage, but a mistake
    except store.storage.unreadable as error:
        logger.warning(
            "%s cannot be read, labels are taken from %s: %s",
            store.storage.uri(_LABELS),
            CONFIG_NAME,
            str(error).partition("\n")[0],
        )
        return _labels_in_config(store)


def _labels_in_config(store: VersionStore) -> Labels | None:
    """Reads back what `render_config` wrote."""
    try:
        text = store.storage.read(CONFIG_NAME) or ""
        (name,) = re.findall(r"^    name: (\".*\")$", text, re.MULTILINE)
        (base_path,) = re.findall(r"^    base_path: (\".*\")$", text, re.MULTILINE)
        labels = re.findall(
            r"^    version_labels { key: (\".*\") value: (\d+) }$", text, re.MULTILINE
        )
        return Labels(
            model_name=json.loads(name),
            base_path=json.loads(base_path),
            labels={json.loads(label): int(number) for label, number in labels},
            leaving=[
                int(number) for number in re.findall(r"^        versions: (\d+)$", text, re.M)
            ],
        )
    except store.storage.unreadable as error:
        logger.warning("%s cannot be read: %s", store.storage.uri(CONFIG_NAME), error)
        return None


def listed_versions(store: VersionStore) -> set[int]:
    """Returns the versions that `models.config` names; none while there is no such file."""
    state = read_labels(store)
    return _listed(store, state) if state is not None else set()


def move_label(
    store: VersionStore,
    label: str,
    version: int | None,
    *,
    model_name: str,
    base_path: str | None,
    wait_until_loaded: Callable[[int], None],
) -> Labels:
    """Points a label at a served version, or removes it when the version is None.

    Args:
        store: the model's base directory.
        label: the label's name.
        version: the version it is to point at.
        model_name: the name under which the server serves the model.
        base_path: the base directory as the server sees it; None: as it was, or as it is here.
        wait_until_loaded: returns once running servers have loaded the version, and raises if
            they do not; the label has not moved then.

    Raises:
        UnknownVersionError: the version has no directory that a server could load.
    """
    with store.storage.lock():
        known = read_labels(store)
        path = base_path or (known.base_path if known else store.storage.base)
        state = Labels(model_name=model_name, base_path=path, labels=known.labels if known else {})
        if version is not None:
            _check_served(store, version)
            state.leaving = sorted({version} | (_listed(store, known) if known else set()))
            _write(store, state)
    if version is not None and known is not None:
        wait_until_loaded(version)
    with store.storage.lock():
        state = read_labels(store) or state
        previous = state.labels.pop(label, None)
        if version is not None:
            _check_served(store, version)
            state.labels[label] = version
        state.leaving = [previous] if previous is not None and previous != version else []
        action = Action.UNLABELLED if version is None else Action.LABELLED
        entry = Entry(action=action, version=version, label=label, before=previous)
        _write(store, state)
        write_entry(store, entry)
    logger.info("label %s moved from version %s to %s", label, previous, version)
    return state


def refresh_config(store: VersionStore) -> None:
    """Rewrites `models.config`, where there is one, after versions came or went.

    The newest version before stays listed until the next change: the server unloads it only after
    the new one answers.
    """
    state = read_labels(store)
    if state is None:
        return
    served = [version.number for version in store.served()]
    state.labels = {label: number for label, number in state.labels.items() if number in served}
    state.leaving = served[1:2]
    _write(store, state)


def ensure_listed(store: VersionStore, version: int) -> None:
    """Makes up for a push that could not write `models.config` any more, because of a full disk."""
    served = store.served()
    try:
        text = store.storage.read(CONFIG_NAME)
    except ValueError:
        text = ""
    if text is not None and served[0].number == version and f"versions: {version}\n" not in text:
        with store.storage.lock():
            refresh_config(store)


def _check_served(store: VersionStore, version: int) -> None:
    served = [candidate.number for candidate in store.served()]
    if version not in served:
        raise UnknownVersionError(
            f"Version {version} is not served from {store.storage.base}; "
            f"served are {', '.join(map(str, served)) or 'none'}."
        )


def _listed(store: VersionStore, state: Labels) -> set[int]:
    served = [version.number for version in store.served()]
    wanted = {*served[:1], *state.labels.values(), *state.leaving}
    return wanted.intersection(served)


def _write(store: VersionStore, state: Labels) -> None:
    # First what servers read: a label that is noted as moved must not be one that never moved.
    store.storage.write(CONFIG_NAME, render_config(state, _listed(store, state)))
    store.storage.write(_LABELS, state.model_dump_json(indent=2))


def render_config(state: Labels, versions: set[int]) -> str:
    """Returns a ModelServerConfig in protobuf's text format (model_server_config.proto)."""
    quoted = partial(json.dumps, ensure_ascii=False)  # the format has no pairs of surrogates
    lines = [
        "model_config_list {",
        "  config {",
        f"    name: {quoted(state.model_name)}",
        f"    base_path: {quoted(state.base_path)}",
        '    model_platform: "tensorflow"',
        "    model_version_policy {",
        "      specific {",
        *(f"        versions: {number}" for number in sorted(versions)),
        "      }",
        "    }",
    ]
    for label, number in sorted(state.labels.items()):
        lines.append(f"    version_labels {{ key: {quoted(label)} value: {number} }}")
    return "\n".join([*lines, "  }", "}", ""])
