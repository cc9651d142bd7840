"""The command line: its verbs, and how a user's mistake ends."""

import errno
import signal
import sys

import typer
from typer.exceptions import TyperException

from cli import (
    clean,
    data,
    doctor,
    edge,
    kubeflow,
    models,
    predict,
    report,
    run,
    schedule,
    serve,
    traffic,
    tune,
)
from cli import compile as compile_
from serving.standard_output import take_any_text

app = typer.Typer(
    help="Trains, judges and serves a Fashion-MNIST classifier; without a verb: run.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for verb in (
    run,
    tune,
    serve,
    edge,
    predict,
    models,
    data,
    traffic,
    schedule,
    compile_,
    kubeflow,
    report,
    clean,
    doctor,
):
    app.add_typer(verb.app)

_FAILED = 1
_BAD_USAGE = 2

_NEEDS_NO_VERB = ("--help", "--install-completion", "--show-completion")

# What a path brings that somebody gave: a file where a folder is needed, or no right to write.
_UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def main() -> None:
    """Runs the command line; a user's mistake is one sentence and exit code 2."""
    take_any_text()
    # A shell starts background jobs with SIGINT ignored; a run can be interrupted all the same.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _NEEDS_NO_VERB):
        arguments = ["run", *arguments]
    from pipeline.settings.errors import UsageError

    try:
        sys.exit(app(arguments, prog_name="runner.py", standalone_mode=False))
    except UsageError as error:
        print(f"runner.py: {error}", file=sys.stderr)
        sys.exit(_BAD_USAGE)
    except TyperException as error:
        print(_usage_sentence(error), file=sys.stderr)
        sys.exit(_BAD_USAGE)
    except OSError as error:
        where = f"cannot use {error.filename}: " if error.filename else ""
        print(f"runner.py: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(_BAD_USAGE if error.errno in _UNUSABLE and error.filename else _FAILED)


def _usage_sentence(error: TyperException) -> str:
    message = error.format_message()
    if "\n" in message:  # the help of a group that was called without a verb
        return message
    context = getattr(error, "ctx", None)
    place = context.command_path if context else "runner.py"
    return f"runner.py: {message.rstrip('.')}; `python {place} --help` shows what there is"
