"""`runner.py models`: what is being served, and how to go back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import canary
from cli.options import ConfigFile, Json, Overrides, Workdir, examples
from cli.outcome import say, usage_errors

if TYPE_CHECKING:
    from pipeline.settings.config import Config

app = typer.Typer(
    name="models",
    help="List, compare, roll back, prune, label and verify versions of the model.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog=examples(
        "models list --server localhost:8501",
        'models rollback --reason "shirts became coats"',
    ),
)
app.add_typer(canary.app)

Server = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="REST address of a running model server.")
]

_NOT_VERIFIED = 1
# A server with --file_system_poll_wait_seconds=1, the default, and a model that loads in seconds.
_LOAD_SECONDS = 60.0
# Without a server to ask: time for one that re-reads its configuration every few seconds.
_BLIND_WAIT_SECONDS = 10.0


@app.command(
    "list",
    epilog=examples(
        "models list", "models list --server localhost:8501 --json", "models list --history"
    ),
)
def list_versions(
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    history: Annotated[
        bool, typer.Option("--history", help="Who moved labels and versions, when and why.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show every version with its labels; with --server, what is live."""
    from cli.tables import versions

    settings = _load(workdir, config, overrides)
    if history:
        entries = versions.history(settings.serving_base)
        if as_json:
            print(json.dumps([entry.model_dump(mode="json") for entry in entries]))
        else:
            versions.print_history(entries)
        return
    with usage_errors():
        listing = versions.listing(settings.serving_base, settings.serving.model_name, server)
    if as_json:
        print(listing.model_dump_json())
    else:
        versions.print_listing(listing)


@app.command(epilog=examples("models diff 1795238065 1795240112"))
def diff(
    before: Annotated[int, typer.Argument(metavar="A", help="The older version.")],
    after: Annotated[int, typer.Argument(metavar="B", help="The newer version.")],
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Compare two versions on the images of the newest evaluation."""
    from cli.tables import versions
    from orchestration.terminal import tensorflow_silent

    settings = _load(workdir, config, overrides)
    with usage_errors(), tensorflow_silent():
        churn = versions.churn_between(settings, before, after)
    if as_json:
        print(churn.model_dump_json())
    else:
        versions.print_churn(churn, before, after)


@app.command(
    epilog=examples(
        'models rollback --reason "shirts became coats"',
        "models rollback 1795240112 --server localhost:8501",
    )
)
def rollback(
    version: Annotated[
        int | None, typer.Argument(help="The bad version; the newest one when left out.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "rolled back by hand",
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    force: Annotated[bool, typer.Option("--force", help="Even if none is left to serve.")] = False,
    as_json: Json = False,
) -> None:
    """Take a version back: servers fall back to the one before it."""
    from serving.versions.rollback import roll_back
    from serving.versions.store import VersionStore

    settings = _load(workdir, config, overrides)
    with usage_errors():
        done = roll_back(
            VersionStore(settings.serving_base, settings.push.permissions),
            version,
            reason,
            allow_last=force,
            wait_until_loaded=_waiter(server, settings.serving.model_name),
        )
    serving = f"version {done.to_version} serves" if done.to_version else "nothing is served"
    say(
        as_json,
        {"rolled_back": done.version, "serving": done.to_version, "reason": reason},
        f"rolled back version {done.version}; now {serving}",
    )


@app.command(epilog=examples('models restore 1795240112 --reason "the server was at fault"'))
def restore(
    version: Annotated[int, typer.Argument(help="The version that was rolled back.")],
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "restored by hand",
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Take a rollback back: serve the version again, and let its like be pushed again."""
    from serving.versions.restore import restore as restore_version
    from serving.versions.store import VersionStore

    settings = _load(workdir, config, overrides)
    with usage_errors():
        restore_version(VersionStore(settings.serving_base), version, reason)
    say(
        as_json,
        {"restored": version, "reason": reason},
        f"restored version {version}; servers load it again",
    )


@app.command(epilog=examples("models prune --keep 3 --server localhost:8501"))
def prune(
    keep: Annotated[int | None, typer.Option(min=1, help="How many stay. [push.keep]")] = None,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Remove old versions, but none in use.

    In use are those that are served, labelled, or were rolled back to.
    """
    from serving.client.status import known_versions
    from serving.versions.prune import prune as prune_versions
    from serving.versions.store import VersionStore

    settings = _load(workdir, config, overrides)
    with usage_errors():
        known = known_versions(server, settings.serving.model_name) if server else {}
        live = [number for number, status in known.items() if status.is_available]
        store = VersionStore(settings.serving_base, settings.push.permissions)
        removed = prune_versions(store, keep or settings.push.keep, live)
    text = ", ".join(map(str, removed)) if removed else "nothing"
    say(as_json, {"removed": removed}, f"removed {text}")


@app.command(
    epilog=examples(
        "models label stable 1795238065",
        "models label canary 1795240112 --base-path /models/fashion_mnist",
        "models label canary --remove",
    )
)
def label(
    name: Annotated[str, typer.Argument(help="stable, canary, ...")],
    version: Annotated[int | None, typer.Argument(help="The version it points at.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the label.")] = False,
    base_path: Annotated[
        str | None, typer.Option(help="The model's directory as the server sees it.")
    ] = None,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Point a label at a version, for servers that read models.config."""
    from pipeline.settings.errors import UsageError
    from serving.versions.labels import CONFIG_NAME, move_label
    from serving.versions.store import VersionStore

    if remove == (version is not None):
        raise UsageError("give either a version or --remove")
    settings = _load(workdir, config, overrides)
    store = VersionStore(settings.serving_base, settings.push.permissions)
    with usage_errors():
        state = move_label(
            store,
            name,
            version,
            model_name=settings.serving.model_name,
            base_path=base_path,
            wait_until_loaded=_waiter(server, settings.serving.model_name),
        )
    path = store.storage.uri(CONFIG_NAME)
    verb = f"points at version {version}" if version is not None else "is removed"
    say(
        as_json,
        {"labels": state.labels, "config": path},
        f"label {name} {verb}; servers read {path} (--model_config_file)",
    )


@app.command(epilog=examples("models verify 1795238065 --key public.pem"))
def verify(
    version: Annotated[int, typer.Argument(help="A version that is there.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The public key, PEM.")],
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Say whether a version is what was signed; exit code 1 if it is not."""
    from cli.verify import verify_version

    settings = _load(workdir, config, overrides)
    with usage_errors():
        verdict = verify_version(settings, version, key)
    text = verdict.reason or f"version {version} is what was signed with the private key of {key}"
    say(as_json, verdict.model_dump(), text)
    if not verdict.verified:
        raise typer.Exit(_NOT_VERIFIED)


def _load(workdir: Path | None, config: Path | None, overrides: list[str] | None) -> "Config":
    from pipeline.settings.load import load_config

    return load_config(None, config, overrides or [], workdir=workdir)


def _waiter(server: str | None, model_name: str) -> Callable[[int], None]:
    """Returns what waits until running servers have loaded a version."""
    import time
    from functools import partial

    from serving.client.status import fetch_status, wait_until_available

    if server is None:
        return lambda version: time.sleep(_BLIND_WAIT_SECONDS)

    def wait(version: int) -> None:
        wait_until_available(
            partial(fetch_status, server, model_name),
            _LOAD_SECONDS,
            f"version {version} of {model_name} at {server}",
            wanted=[version],
        )

    return wait
