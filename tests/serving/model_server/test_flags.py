"""The command line: the real server's flags, honoured or refused by name."""

import csv
from dataclasses import fields
from pathlib import Path

import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.flags import EXIT_FAILED, REFUSED, Flags, parse_flags

RECORDED = list(
    csv.DictReader((Path(__file__).parents[1] / "conformance" / "flags.tsv").open(), delimiter="\t")
)
MODEL = ["--model_base_path=/models/m"]
TYPES = {"int32": int, "int64": int, "string": str, "bool": bool, "float": float}


NUMBERS = [flag.name for flag in fields(Flags) if type(flag.default) in (int, float)]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ending:
        parse_flags(arguments)
    assert ending.value.code == EXIT_FAILED
    return capsys.readouterr().err


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda row: row["flag"])
def test_every_flag_of_the_real_server_is_known(recorded: dict[str, str]) -> None:
    honoured = {flag.name: flag for flag in fields(Flags)}
    name = recorded["flag"]
    assert (name in honoured) != (name in REFUSED)
    if name in REFUSED:
        assert REFUSED[name][0] is TYPES[recorded["type"]]
        return
    default = honoured[name].default
    assert type(default) is TYPES[recorded["type"]]
    if name not in ("rest_api_num_threads", "grpc_max_threads"):
        assert str(default).lower() == recorded["default"].strip('"').replace("0.000000", "0.0")


def test_values_are_parsed_by_type() -> None:
    flags = parse_flags(
        [
            "--port=9000",
            "--rest_api_port",
            "9001",
            "--enable_batching",
            "--enable_model_warmup=false",
            "--model_name=m",
            "--per_process_gpu_memory_fraction=0.5",
            *MODEL,
        ]
    )
    assert (flags.port, flags.rest_api_port, flags.enable_batching) == (9000, 9001, True)
    assert (flags.enable_model_warmup, flags.per_process_gpu_memory_fraction) == (False, 0.5)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_honoured_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    kind = REFUSED[name][0]
    value = {bool: "true", int: "7", str: "something"}[kind]
    assert f"--{name} is refused: " in refusal(capsys, *MODEL, f"--{name}={value}")


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_asking_for_nothing_is_not_refused(name: str) -> None:
    neutral = REFUSED[name][1]
    parse_flags([*MODEL, f"--{name}={neutral}"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_such_flag=1", *MODEL], "no_such_flag"),
        (["--port=http", *MODEL], "--port"),
        (["--enable_batching=perhaps", *MODEL], "neither true nor false"),
    ],
)
def test_a_command_line_that_cannot_be_read_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refusal(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port=0", *MODEL], "At least one of server_options.grpc_port"),
        ([], "Both server_options.model_base_path and server_options.model_config_file"),
        (
            ["--batching_parameters_file=/b", *MODEL],
            "server_options.batching_parameters_file is set without setting",
        ),
        (["--aspired_version_policy=other", *MODEL], "--aspired_version_policy"),
        (
            [
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
                *MODEL,
            ],
            "You cannot configure all.",
        ),
        (["--reload_config_address=127.0.0.1:8510", "--enable_reload_config=false", *MODEL], "set"),
        (["--model_base_path=/models/\udcff"], "--model_base_path: '/models/\\udcff' is not UTF-8"),
        (["--listen_address=\udcff", *MODEL], "--listen_address: '\\udcff' is not UTF-8"),
    ],
)
def test_values_that_no_server_can_start_with_are_refused(
    arguments: list[str], message: str
) -> None:
    with pytest.raises(ServingError) as refused:
        parse_flags(arguments)
    assert refused.value.code == Code.INVALID_ARGUMENT
    assert message in refused.value.message


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_beyond_all_bounds_is_refused_by_the_name_of_its_flag(name: str) -> None:
    for number in (2**63, -(2**63) - 1):
        with pytest.raises(ServingError, match=f"--{name}: .* is not between"):
            parse_flags([*MODEL, f"--{name}={number}"])


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused_as_such(
    capsys: pytest.CaptureFixture[str], name: str
) -> None:
    for text in ("", "x", "9" * 5000 + "x"):
        assert f"argument --{name}: invalid" in refusal(capsys, *MODEL, f"--{name}={text}")


@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("port", (1, 65535), (-1, 65536)),
        ("rest_api_port", (0, 65535), (-1, 65536)),
        ("rest_api_num_threads", (1,), (0, -1)),
        ("grpc_max_threads", (1,), (0, -1)),
        ("rest_api_max_body_bytes", (1, 2**40), (0, -1)),
        ("num_load_threads", (0, 4), (-1,)),
        ("max_num_load_retries", (0, 2**31 - 1), (-1, 2**31)),
        ("load_retry_interval_micros", (-1, 0, 10**15), (10**16,)),
        ("file_system_poll_wait_seconds", (-1, 0, 2**31 - 1), (2**31,)),
        ("tensorflow_session_parallelism", (0, 64), (-1, 2**31 - 1)),
        ("tensorflow_intra_op_parallelism", (0, 64), (-1, 2**31 - 1)),
        ("tensorflow_inter_op_parallelism", (-1, 0, 64), (2**31 - 1,)),
        ("per_process_gpu_memory_fraction", (0, 0.5, 1), (-0.1, 1.1, "nan", "inf")),
    ],
)
def test_a_number_is_taken_where_it_means_something(
    name: str, taken: tuple[float, ...], refused: tuple[float | str, ...]
) -> None:
    for number in taken:
        assert getattr(parse_flags([*MODEL, f"--{name}={number}"]), name) == number
    for outside in refused:
        with pytest.raises(ServingError, match=f"--{name}: .* is not between"):
            parse_flags([*MODEL, f"--{name}={outside}"])


@pytest.mark.parametrize("address", ["127.0.0.1:8510", "[::1]:8510", "localhost:1"])
def test_reloads_take_an_address_with_a_port(address: str) -> None:
    flags = parse_flags([*MODEL, f"--reload_config_address={address}"])
    assert flags.reload_config_address == address


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "a:0", "a:99999", "a:x", ":1", "0"])
def test_reloads_take_no_address_of_which_grpc_would_make_another(address: str) -> None:
    with pytest.raises(ServingError, match="is not HOST:PORT"):
        parse_flags([*MODEL, f"--reload_config_address={address}"])


def test_help_lists_all_flags_and_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parse_flags(["--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    assert all(f"--{row['flag']}" in text for row in RECORDED)
    assert "refused flags of tensorflow_model_server" in text
