"""Settings: preset, then file, then overrides and flags; a mistake is one sentence."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from pipeline.settings.presets import Preset


def test_later_sources_win(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('preset = "smoke"\n[training]\nepochs = 3\nseed = 7\n[push]\nkeep = 4\n')

    config = load_config(None, file, ["training.epochs=5"], push__keep=9)

    assert config.preset is Preset.SMOKE
    assert config.training.batch_size == 32  # from the preset
    assert config.training.seed == 7  # from the file
    assert config.training.epochs == 5  # from --set
    assert config.push.keep == 9  # from a flag


def test_a_preset_on_the_command_line_wins_over_the_one_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('preset = "smoke"\n')
    assert load_config("default", file).preset is Preset.DEFAULT


def test_flags_that_were_not_given_change_nothing() -> None:
    assert load_config(push__keep=None) == load_config()


def test_values_in_overrides_are_toml_or_bare_strings() -> None:
    config = load_config(
        overrides=[
            "training.filters=[8, 16]",
            "serving.model_name=clothes",
            "training.random_flip=false",
        ]
    )
    assert config.training.filters == (8, 16)
    assert config.serving.model_name == "clothes"
    assert config.training.random_flip is False


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["training.epoch=1"], "there is no setting training.epoch"),
        (["cooking.salt=1"], "there is no setting cooking"),
        (["training.epochs=many"], "training.epochs = 'many': input should be a valid integer"),
        (["training.epochs=0"], "training.epochs = 0: input should be greater than or equal to 1"),
        (["training"], "--set takes section.key=value, not 'training'"),
        (["infra_validation.model_server=apache"], "infra_validation.model_server = 'apache'"),
        (['data.labels=["cat", "cat"]'], "every class needs a name of its own"),
        (['data.labels=["cat"]'], "tuple should have at least 2 items"),
        (["training.seed=5000000000"], "training.seed = 5000000000: input should be less than"),
        (["training.epochs=1000000001"], "input should be at most 1000000000"),
        (["training.filters=[32, 4000000000]"], "training.filters = [32, 4000000000]: value err"),
        (["data.window=99999999999999999999"], "data.window = 99999999999999999999: "),
        (["schedule.poll_seconds=1e300"], "schedule.poll_seconds = 1e+300: value error, input sho"),
        (["schedule.poll_seconds=1e309"], "schedule.poll_seconds = inf: input should be a finite"),
        (
            ["evaluation.min_accuracy=nan"],
            "evaluation.min_accuracy = nan: input should be a finite",
        ),
        (["serving.max_pixels=9223372036854775808"], "serving.max_pixels = 92"),
        (["serving.model_name=.."], "serving.model_name = '..': string should match"),
        (["data.root=~nosuchuser/x"], "data.root = '~nosuchuser/x': value error, could not"),
        (["push.destination=~nosuchuser/x"], "push.destination = '~nosuchuser/x': value error"),
        (["edge.tokens=~nosuchuser/x"], "edge.tokens = '~nosuchuser/x': value error"),
        (['data.root="a\\u0000b"'], "data.root = 'a\\x00b': value error"),
        (["data.root=w\udce9"], "data.root = 'w\\udce9': "),
    ],
)
def test_a_mistake_is_named(overrides: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        load_config(overrides=overrides)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_refused_item_is_not_also_said_to_be_missing() -> None:
    with pytest.raises(UsageError) as error:
        load_config(overrides=["training.filters=[0]"])
    assert str(error.value) == "training.filters.0 = 0: input should be greater than 0"


def test_an_unknown_preset_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match="unknown preset 'huge'; there are smoke, default, best"):
        load_config("huge")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("epochs: 3")
    with pytest.raises(UsageError, match=r"settings\.toml is not valid TOML"):
        load_config(None, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml: No such file"):
        load_config(None, tmp_path / "absent.toml")


def test_a_missing_schema_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file .*mine\.pbtxt"):
        load_config(overrides=[f"data.schema_file='{tmp_path / 'mine.pbtxt'}'"])


@pytest.mark.parametrize(
    "content", [b"# Read me\nA schema.\n", b"\x7fELF\xd0\x00", b"feature { x: 1 }"]
)
def test_a_schema_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.pbtxt"
    file.write_bytes(content)
    with pytest.raises(
        UsageError, match=r"data\.schema_file: .*/mine\.pbtxt is no schema: "
    ) as error:
        load_config(overrides=[f"data.schema_file={file}"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("workdir", "why"),
    [("~nosuchuser/x", "could not determine home"), ("w\udce9", "utf-8"), ("loop/x", "loop")],
)
def test_a_workdir_that_can_be_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workdir: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=f"workdir = .*{why}") as error:
        load_config(workdir=Path(workdir))
    str(error.value).encode()


def test_names_and_numbers_at_the_limit_are_taken() -> None:
    overrides = [
        "training.seed=4294967294",
        "serving.max_pixels=9223372036854775807",
        "data.window=1000000000",
        "serving.model_name=..a",
    ]
    assert load_config(overrides=overrides).serving.model_name == "..a"


def test_a_data_root_of_ones_own_comes_before_the_sample(tmp_path: Path) -> None:
    config = load_config("smoke", overrides=[f"data.root={tmp_path}"])
    assert config.data_root == tmp_path
    assert not config.fetches_data
    assert load_config(workdir=tmp_path).fetches_data


def test_what_is_pushed_to_is_in_the_workdir_or_wherever_it_is_said(tmp_path: Path) -> None:
    assert load_config(workdir=tmp_path).serving_base == f"{tmp_path}/serving/fashion_mnist"
    folder = load_config(overrides=["push.destination=~/models/shop"])
    assert folder.serving_dir == Path("~/models/shop").expanduser()
    assert folder.serving_base == str(folder.serving_dir)
    bucket = "gs://bucket/models/fashion_mnist"
    assert load_config(overrides=[f"push.destination={bucket}"]).serving_base == bucket


def test_a_home_that_nobody_knows_is_no_place_to_push_to(tmp_path: Path, nobody: None) -> None:
    with pytest.raises(UsageError, match=r"push\.destination.*home"):
        load_config(workdir=tmp_path, overrides=["push.destination=~/models/shop"])


def undescribed(settings: BaseModel, section: str = "") -> list[str]:
    """The settings that do not say what they are for."""
    names = []
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            names += undescribed(value, f"{section}{name}.")
        elif not field.description:
            names.append(f"{section}{name}")
    return names


def test_every_setting_says_what_it_is_for() -> None:
    assert undescribed(Config()) == []
