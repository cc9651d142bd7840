"""Turns a folder of pictures of one's own classes into a data root with the settings to use it.

The folder holds one folder of pictures per class, of any size and colour; or the folders ``train``
and ``test``, each with a folder per class. Without a test set, a fifth of every class is held out,
chosen by a hash of the pixels.
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data import splits
from data.checked import Checked, File, Graph, Summary, check, lay_out, summarise
from data.class_names import same_name
from data.duplicates import clashes
from data.folders import Found, find, is_utf8, shown, visible
from data.layout import Role
from data.prepared_settings import SCHEMA_FILE, SETTINGS_FILE, Target, schema_for, settings_for
from data.refusal import DataRefused, FileProblem

_TRAIN, _TEST = "train", "test"
# What people and libraries call a part of a set; a single class may be called so as well.
_PART = re.compile(r"split-.+|(train|test)(ing)?|val(id|idation)?|dev|eval(uation)?|holdout")
_TEST_SHARE = 0.2
_FEWEST_IMAGES = 5
_MOST_CLASSES = 256


class PrepareError(ValueError):
    """The folder is not one of pictures by class, or the output is there already."""


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote.

    Attributes:
        settings: the TOML file for `--config`.
        labels: names of the classes, in the order of their ids.
        train: number of images to train on.
        test: number of images held out.
        summary: what else is to be said.
    """

    settings: Path
    labels: tuple[str, ...]
    train: int
    test: int
    summary: Summary


def prepare(
    pictures: Path,
    target: Target,
    graph: Graph,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda count: None,
    check_settings: Callable[[str], None] = lambda text: None,
) -> Prepared:
    """Writes a data root: the base set, the curated schema and the settings; whole or not at all.

    Args:
        pictures: the folder, as the module describes.
        target: what is written, and how.
        graph: what the model's graph does to a picture, so that training sees what serving does.
        progress: is told how many files there are, and returns what counts them.
        check_settings: raises what is wrong with settings before they are written.

    Raises:
        PrepareError: `pictures` has no such layout, or the output exists or has no name in UTF-8.
        DataRefused: every file that is not sound, and every class with too few images.
    """
    output = target.output
    if output.exists():
        raise PrepareError(f"{output} is there already; remove it or choose another folder")
    if not is_utf8(str(output)):
        raise PrepareError(f"{shown(output)} is to stand in the settings: its name has to be UTF-8")
    parts = {part: find(folder) for part, folder in _parts(pictures).items()}
    labels = _class_names(pictures, parts)
    # Pictures can take minutes, and only the numbers of them are not known yet.
    check_settings(settings_for(target, labels, train=1, test=1))
    files = [
        File(path, labels.index(name), part)
        for part, found in parts.items()
        for name, paths in found.classes.items()
        for path in paths
    ]
    checked, unsound = check(files, graph, target.max_pixels, progress(len(files)))
    ignored = [path for found in parts.values() for path in found.ignored]
    summary, twice = summarise(checked, labels, ignored)
    problems = [problem for found in parts.values() for problem in found.problems]
    if target.allow_duplicates:
        summary.clashes, twice = len(twice), []
    if problems or unsound or twice:
        raise DataRefused([*problems, *unsound, *twice])
    if _TEST not in parts:
        checked = _held_out(checked)
    _require_enough(pictures, labels, checked)
    train, test = (
        sum(picture.file.part == part for picture in checked) for part in (_TRAIN, _TEST)
    )
    settings = settings_for(target, labels, train, test)
    check_settings(settings)
    _write(target, checked, labels, settings)
    return Prepared(output / SETTINGS_FILE, labels, train, test, summary)


def _write(
    target: Target, pictures: Sequence[Checked], labels: tuple[str, ...], settings: str
) -> None:
    partial = target.output.with_name(f".{target.output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        for part in (_TRAIN, _TEST):
            chosen = [picture for picture in pictures if picture.file.part == part]
            lay_out(partial / "base" / part, chosen, labels, target.max_pixels)
        (partial / SCHEMA_FILE).write_text(schema_for(target.schema, len(labels)))
        (partial / SETTINGS_FILE).write_text(settings)
        partial.rename(target.output)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _parts(pictures: Path) -> dict[str, Path]:
    """Returns the folders to train on and to test on; without a test set, the first alone."""
    if not pictures.is_dir():
        raise PrepareError(f"{pictures} is not a folder")
    try:
        found = visible(pictures)
    except OSError as error:
        raise PrepareError(f"{pictures} cannot be read ({error.strerror})") from None
    names = {path.name.casefold(): path for path in found}
    if set(names) == {_TRAIN, _TEST}:
        return {part: names[part] for part in (_TRAIN, _TEST)}
    others = ", ".join(
        shown(path.name) for name, path in names.items() if name not in (_TRAIN, _TEST)
    )
    if {_TRAIN, _TEST} < set(names):
        raise PrepareError(
            f"{pictures} has train and test, and beside them {others}: move that away, or into "
            "train"
        )
    parts = [path.name for name, path in names.items() if _PART.fullmatch(name)]
    if len(parts) > 1:
        raise PrepareError(
            f"{pictures} has {' and '.join(parts)}, which are parts of a set and no classes: lay "
            "them out as train and test, or name one of them"
        )
    return {_TRAIN: pictures}


def _class_names(pictures: Path, parts: dict[str, Found]) -> tuple[str, ...]:
    names = tuple(parts[_TRAIN].classes)
    if len(names) < 2:
        problems = [problem for found in parts.values() for problem in found.problems]
        if names and problems:
            raise DataRefused(problems)
        raise PrepareError(f"{pictures} needs a folder of PNG or JPEG files for each class")
    if len(names) > _MOST_CLASSES:
        raise PrepareError(f"{pictures} has {len(names)} classes; {_MOST_CLASSES} are the most")
    alike = defaultdict(list)
    for name in names:
        alike[same_name(name).casefold()].append(name)
    for same in alike.values():
        if len(same) > 1:
            raise PrepareError(
                f"{pictures}: names of classes must differ by letters or digits, "
                f"not by capital letters alone: {', '.join(same)}"
            )
    unknown = [name for name in parts.get(_TEST, Found()).classes if name not in names]
    if unknown:
        raise PrepareError(f"{pictures}: only the test set has the class {', '.join(unknown)}")
    return names


def _held_out(pictures: Sequence[Checked]) -> list[Checked]:
    """Splits off a fifth of every class; what is alike, or nearly, stays on one side."""
    groups = _alike(pictures)
    of_label: dict[int, dict[int, int]] = defaultdict(dict)
    for place, picture in enumerate(pictures):
        smallest = of_label[picture.file.label]
        digest = picture.like.digest
        smallest[groups[place]] = min(digest, smallest.get(groups[place], digest))
    chosen: set[tuple[int, int]] = set()
    for label, smallest in of_label.items():
        ordered = sorted(smallest, key=lambda group: smallest[group])
        chosen |= {(label, group) for group in ordered[: _share(len(ordered))]}
    return [
        replace(picture, file=replace(picture.file, part=part))
        for place, picture in enumerate(pictures)
        for part in [_TEST if (picture.file.label, groups[place]) in chosen else _TRAIN]
    ]


def _share(count: int) -> int:
    return max(1, round(_TEST_SHARE * count))


def _alike(pictures: Sequence[Checked]) -> list[int]:
    """Returns a number for every picture that is the same for those that are alike."""
    groups = list(range(len(pictures)))

    def first(place: int) -> int:
        while groups[place] != place:
            groups[place] = groups[groups[place]]
            place = groups[place]
        return place

    likes = [picture.like for picture in pictures]
    for one, other, _ in clashes(likes, side=lambda place: place):
        groups[first(other)] = first(one)
    return [first(place) for place in range(len(pictures))]


def _require_enough(pictures: Path, labels: Sequence[str], checked: Sequence[Checked]) -> None:
    reasons: list[str | FileProblem] = []
    for label, name in enumerate(labels):
        own = [picture.file.part for picture in checked if picture.file.label == label]
        train, test = (own.count(part) for part in (_TRAIN, _TEST))
        if train < _FEWEST_IMAGES or not test:
            reasons.append(
                f"{pictures}: class {name} has {train} images to train on and {test} to test on; "
                f"{_FEWEST_IMAGES} and 1 are the least, hundreds are better"
            )
    trained = [picture.like.digest for picture in checked if picture.file.part == _TRAIN]
    places = splits.split_of(Role.TRAINING, np.array(trained, np.uint64))
    for position, split in enumerate(splits.SPLITS[:2]):
        if not reasons and position not in places:
            reasons.append(
                f"{pictures}: too few images, by their hash none of {len(trained)} falls into "
                f"the split {split}; a few more will do"
            )
    if reasons:
        raise DataRefused(reasons)
