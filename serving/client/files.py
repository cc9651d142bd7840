"""Pictures in files and folders, sent to a model in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.client.errors import InvalidRequestError
from serving.client.interface import ModelClient, Prepare, ScoredLabel

SUFFIXES = frozenset(
    (
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".jpeg",
        ".jpg",
        ".jfif",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    )
)

_SIGNATURE = "classify"
_FEATURE = "image"
_BATCH_BYTES = 8 << 20


@dataclass(frozen=True)
class Answer:
    """What the model says about one file.

    Attributes:
        path: as it was given, or found in a folder that was given.
        labels: best first; empty when there is no answer.
        problem: why there is no answer.
        plain_background: False when the object could not be told from its surroundings, so that
            the answer is worth little.
    """

    path: Path
    labels: Sequence[ScoredLabel] = ()
    problem: str | None = None
    plain_background: bool = True


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """Returns files as given, and for a folder the pictures in it and below, by name.

    Files that were named are not judged by their suffix, nor by whether they are there. Links are
    followed; a folder that cannot be read is returned itself, so that an answer says so. Hidden
    files, which systems leave behind, are no pictures, nor are pipes and devices in a folder, which
    may never come to an end.
    """
    found: list[Path] = []
    for path in paths:
        found += sorted(_below(path, ())) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    real = folder.resolve()
    if real in above:
        return
    try:
        inside = sorted(folder.iterdir())
    except OSError:
        yield folder
        return
    for path in inside:
        if path.is_dir():
            yield from _below(path, (*above, real))
        elif path.exists() and not path.is_file():
            continue
        elif path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            yield path


def classify_files(
    client: ModelClient,
    paths: Sequence[Path],
    *,
    prepare: Prepare | None = None,
    version: int | None = None,
    label: str | None = None,
    batch_size: int = 64,
    on_answers: Callable[[int], None] = lambda count: None,
) -> Iterator[Answer]:
    """Classifies pictures; one that cannot be read or is refused does not stop the others.

    Args:
        client: of a model with a signature `classify` that takes a feature `image`.
        paths: the files.
        prepare: makes a file's bytes into what is sent; None: they are sent as they are.
        version: which version answers; None: the newest.
        label: which label answers.
        batch_size: how many go in one request at most.
        on_answers: is told after each batch how many files it was.

    Yields:
        An answer for every path, in their order.

    Raises:
        ClientError: the server does not answer, or has no such model, version or label.
    """
    waiting: list[tuple[Answer, bytes]] = []
    for path in paths:
        answer, content = _read(path, prepare)
        waiting.append((answer, content))
        full = sum(len(content) for _, content in waiting) >= _BATCH_BYTES
        if full or len(waiting) >= batch_size:
            yield from _ask(client, waiting, version, label)
            on_answers(len(waiting))
            waiting = []
    if waiting:
        yield from _ask(client, waiting, version, label)
        on_answers(len(waiting))


def _read(path: Path, prepare: Prepare | None) -> tuple[Answer, bytes]:
    """Returns an answer without labels, and what is to be sent; nothing if that is a problem."""
    if path.is_dir():
        return Answer(path, problem="this folder cannot be read"), b""
    try:
        content = path.read_bytes()
        if not content:
            return Answer(path, problem="it is empty"), b""
        if prepare is None:
            return Answer(path), content
        photo = prepare(content)
    except OSError as error:
        return Answer(path, problem=error.strerror or str(error)), b""
    except ValueError as error:
        return Answer(path, problem=str(error)), b""
    return Answer(path, plain_background=photo.plain_background), photo.encoded


def _ask(
    client: ModelClient,
    batch: Sequence[tuple[Answer, bytes]],
    version: int | None,
    label: str | None,
) -> list[Answer]:
    contents = [content for answer, content in batch if answer.problem is None]
    results = iter(_classified(client, contents, version, label))
    answers = []
    for answer, _ in batch:
        if answer.problem is not None:
            answers.append(answer)
            continue
        result = next(results)
        if isinstance(result, str):
            answers.append(Answer(answer.path, problem=result))
        else:
            answers.append(
                Answer(answer.path, labels=result, plain_background=answer.plain_background)
            )
    return answers


def _classified(
    client: ModelClient, contents: Sequence[bytes], version: int | None, label: str | None
) -> list[list[ScoredLabel] | str]:
    """Returns labels for each picture, or why the model refuses it."""
    if not contents:
        return []
    examples = [{_FEATURE: content} for content in contents]
    try:
        return list(client.classify(examples, _SIGNATURE, version, label))
    except InvalidRequestError as error:
        if len(contents) == 1:
            # A label that the server does not know is the caller's mistake, not the picture's.
            client.signature(_SIGNATURE, version, label)
            return [error.message.partition("\n")[0]]
    # One picture spoils a request for all that are in it.
    return [_classified(client, [content], version, label)[0] for content in contents]
