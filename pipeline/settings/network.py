"""Which networks there are, and whether what the settings say of theirs can be built at all."""

import symtable
from importlib.machinery import PathFinder
from pathlib import Path

from pipeline.settings.errors import UsageError
from pipeline.settings.hyperparameters import Hyperparameters, Network

_SMALLEST = 32

# Of Keras Applications, with the fewest pixels that each takes. EfficientNetB0 to B7 are missing:
# with weights from a file, Keras leaves a scaling out that these weights were trained with.
BACKBONES = {
    **dict.fromkeys(
        (
            *(f"ConvNeXt{size}" for size in ("Tiny", "Small", "Base", "Large", "XLarge")),
            *(f"DenseNet{depth}" for depth in (121, 169, 201)),
            *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "S", "M", "L")),
            *("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large"),
            *(f"ResNet{depth}" for depth in (50, 101, 152)),
            *(f"ResNet{depth}V2" for depth in (50, 101, 152)),
            *("VGG16", "VGG19"),
        ),
        _SMALLEST,
    ),
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "Xception": 71,
}

_HDF5 = b"\x89HDF\r\n\x1a\n"


def check_network(training: Hyperparameters, image_size: int) -> None:
    """Refuses what could only fail once training begins.

    Raises:
        UsageError: the settings name a network that cannot be built; the message says why.
    """
    if training.weights:
        if training.network in (Network.CNN, Network.RESIDUAL):
            raise UsageError(
                f"training.weights are a backbone's, and training.network is {training.network}"
            )
        _check_weights(training.weights)
    if training.network == Network.CNN:
        halvings = len(training.filters) - 1
        if image_size >> halvings == 0:
            raise UsageError(
                f"training.filters: {halvings + 1} stages halve an image {halvings} times, and "
                f"data.image_size is {image_size}"
            )
    elif training.network == Network.BACKBONE:
        _check_backbone(training, image_size)
    elif training.network != Network.RESIDUAL:
        _check_function(training.network)


def _check_backbone(training: Hyperparameters, image_size: int) -> None:
    name = training.backbone
    if name not in BACKBONES:
        raise UsageError(
            f"training.backbone = {name!r}: there are {', '.join(sorted(BACKBONES))}"
            if name
            else "training.network is a backbone: training.backbone has to say which"
        )
    if image_size < BACKBONES[name]:
        raise UsageError(
            f"{name} takes images of {BACKBONES[name]} pixels and more, and data.image_size is "
            f"{image_size}"
        )
    if training.frozen_epochs and not training.weights:
        raise UsageError(
            f"without training.weights, {name} begins with random numbers, which are of no use "
            "frozen: give a file of weights, or training.frozen_epochs = 0"
        )


def _check_weights(file: Path) -> None:
    try:
        with file.open("rb") as opened:
            begins = opened.read(len(_HDF5))
    except OSError as error:
        raise UsageError(f"training.weights: cannot read {file}: {error.strerror}") from None
    if file.suffix != ".h5" or begins != _HDF5:
        raise UsageError(f"training.weights: {file} is no file of weights of Keras (.h5)")


def _check_function(network: str) -> None:
    module, separator, function = network.partition(":")
    if not separator or not all(map(str.isidentifier, [*module.split("."), function])):
        raise UsageError(
            f"training.network = {network!r}: there are {', '.join(Network)}, and functions of "
            "your own as package.module:function"
        )
    file = module_file(module)
    if file is None:
        raise UsageError(
            f"training.network: there is no module {module}, neither here nor on PYTHONPATH"
        )
    try:
        names = symtable.symtable(file.read_text(), str(file), "exec").get_identifiers()
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"training.network: {file} is not Python: {error}") from None
    if function not in names:
        raise UsageError(f"training.network: {file} has no {function}")


def custom_module(network: str) -> str | None:
    """Returns the module of a `package.module:function`; None for a network of this project."""
    module, separator, _ = network.partition(":")
    return module if separator else None


def module_file(module: str) -> Path | None:
    """Returns where Python would import a module from, without importing anything."""
    spec, places = None, None
    for name in module.split("."):
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return None
        places = spec.submodule_search_locations or []
    return Path(spec.origin) if spec and spec.origin else None
