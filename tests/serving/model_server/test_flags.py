"""The command line: the real server's flags, honoured or refused by name."""

import csv
from dataclasses import fields
from pathlib import Path

import pytest

from serving.model_server.flags import EXIT_FAILED, REFUSED, Flags, parse_flags

RECORDED = list(
    csv.DictReader((Path(__file__).parents[1] / "conformance" / "flags.tsv").open(), delimiter="\t")
)
MODEL = ["--model_base_path=/models/m"]
TYPES = {"int32": int, "int64": int, "string": str, "bool": bool, "float": float}


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
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert message in refusal(capsys, *arguments)


def test_help_lists_all_flags_and_what_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parse_flags(["--help"])
    assert ending.value.code == 0
    text = capsys.readouterr().out
    assert all(f"--{row['flag']}" in text for row in RECORDED)
    assert "refused flags of tensorflow_model_server" in text
