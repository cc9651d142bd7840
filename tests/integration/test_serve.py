"""`runner.py serve` and `predict`: as pasted, in a browser, and gone afterwards."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from data.idx import read_images
from pipeline.modeling.features import CLASS_LABELS
from serving.launch.ownership import OWNER_VARIABLE
from tests.conftest import ROOT, SmokeRun, run_runner
from tests.integration.conftest import free_port
from tests.integration.serving_image import build_image, missing_engine

pytestmark = pytest.mark.integration

SAMPLE = ROOT / "data" / "sample" / "base"


@dataclass
class Served:
    """`runner.py serve --ui` at work on a copy of what the smoke run pushed."""

    workdir: Path
    version: int
    ports: dict[str, int]
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def predict(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Asks it over the API that the arguments choose."""
        port = self.ports["grpc" if "--grpc" in arguments else "rest"]
        return run_runner("predict", *map(str, arguments), "--server", f"127.0.0.1:{port}")

    def commands(self, start: str) -> list[str]:
        """Returns the commands that it printed to try."""
        return [line.strip() for line in self.said if line.strip().startswith(start)]


def processes_of(parent: psutil.Process) -> list[psutil.Process]:
    return [parent, *parent.children(recursive=True)]


def start_serve(workdir: Path, version: int, *arguments: str) -> Served:
    """Starts `runner.py serve` on free ports; returns when it has said what it serves."""
    ports = {name: free_port() for name in ("grpc", "rest", "ui")}
    command = [sys.executable, str(ROOT / "runner.py"), "serve", "--workdir", str(workdir)]
    command += [*arguments, *(f"--{name}-port={port}" for name, port in ports.items())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    served = Served(workdir, version, ports, process)
    assert process.stdout is not None
    for line in process.stdout:
        served.said.append(line)
        if line.startswith("Ctrl-C"):
            break
    return served


def pushed(smoke_run: SmokeRun, workdir: Path, *label_arguments: str) -> int:
    """Makes a workdir with what the smoke run pushed, labelled `stable`; returns its version."""
    shutil.copytree(smoke_run.serving_dir, workdir / "serving" / "fashion_mnist")
    version = smoke_run.result.version
    assert version is not None
    label = ["label", "stable", str(version), "--workdir", str(workdir), *label_arguments]
    labelled = run_runner("models", *label)
    assert labelled.returncode == 0, labelled.stderr
    return version


@pytest.fixture(scope="module")
def served(smoke_run: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    workdir = tmp_path_factory.mktemp("served") / "var"
    version = pushed(smoke_run, workdir)
    served = start_serve(workdir, version, "--ui", "--model-server", "embedded")
    yield served
    served.process.kill()
    served.process.wait()


def photo(image: np.ndarray, rng: np.random.Generator) -> bytes:
    """A picture of the dataset as a shop shows it: large, in colour, on white, with margins."""
    size = 28 * int(rng.integers(10, 25))
    light = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
    share = light[..., None] / 255.0
    dye = rng.uniform(0, 70, 3)
    garment = 255 * (1 - share) + dye * share
    top, bottom, left, right = rng.integers(20, 250, 4)
    canvas = np.full((size + top + bottom, size + left + right, 3), 255.0)
    canvas[top : top + size, left : left + size] = garment
    buffer = io.BytesIO()
    Image.fromarray(canvas.astype(np.uint8)).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def test_it_says_which_server_why_and_which_version(served: Served) -> None:
    said = "".join(served.said)
    assert f"fashion_mnist version {served.version} (stable = {served.version})" in said
    assert "why that server: asked for" in said


def test_the_lines_it_prints_work_when_pasted(served: Served) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl on PATH")
    status, classify = served.commands("curl")
    (predict,) = served.commands("python")

    def pasted(line: str) -> str:
        done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(pasted(status))["model_version_status"][0]["state"] == "AVAILABLE"
    (scores,) = json.loads(pasted(classify))["results"]
    best, score = scores[0]
    program = f"{sys.executable} {ROOT / 'runner.py'}"
    rest = predict.partition("runner.py")[2]
    assert f"{best} {score:.1%}" in pasted(f"{program}{rest}")


def test_it_listens_on_this_machine_only(served: Served) -> None:
    listening = {
        connection.laddr.port: connection.laddr.ip.removeprefix("::ffff:")
        for process in processes_of(psutil.Process(served.process.pid))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == dict.fromkeys(served.ports.values(), "127.0.0.1")


def test_photos_of_clothes_get_the_labels_of_the_pictures_they_show(
    served: Served, tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    images = read_images(SAMPLE / "t10k-images-idx3-ubyte.gz")[:100]
    for kind in ("pictures", "photos"):
        (tmp_path / kind).mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{number:03}.png")
        (tmp_path / "photos" / f"{number:03}.jpg").write_bytes(photo(image, rng))

    def labels(*arguments: object) -> list[str]:
        done = served.predict(*arguments, "--json", "--top", 1)
        assert done.returncode == 0, done.stderr
        return [entry["labels"][0]["label"] for entry in json.loads(done.stdout)["predictions"]]

    pictures = labels(tmp_path / "pictures")

    def agreement(photos: list[str]) -> float:
        return float(np.mean([a == b for a, b in zip(pictures, photos, strict=True)]))

    assert len(set(pictures)) > len(CLASS_LABELS) / 2
    assert agreement(labels(tmp_path / "photos")) >= 0.85
    assert agreement(labels(tmp_path / "photos", "--raw")) < 0.5


def test_rest_and_grpc_versions_and_labels_give_the_same_answer(
    served: Served, tmp_path: Path
) -> None:
    picture = served.workdir / "example.png"
    plain = served.predict(picture)
    assert plain.returncode == 0, plain.stderr
    assert "Ankle boot" in plain.stdout
    assert served.predict(picture, "--version", served.version).stdout == plain.stdout
    over_grpc = served.predict(picture, "--grpc", "--label", "stable")
    assert over_grpc.stdout == plain.stdout, over_grpc.stderr


def test_unreadable_files_are_named_and_the_others_predicted(
    served: Served, tmp_path: Path
) -> None:
    shutil.copy(served.workdir / "example.png", tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    done = served.predict(tmp_path)
    assert done.returncode == 1
    assert "good.png  " in done.stdout
    assert "bad.jpg: not predicted: it is not a picture in a known format" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--version", "9"], "serves version {version} of fashion_mnist only"),
        (["--label", "canary"], "knows no label 'canary'; `python runner.py models label canary"),
        (["--set", "serving.model_name=other"], "does not serve a model called other"),
    ],
)
def test_what_is_not_served_is_one_sentence(
    served: Served, arguments: list[str], sentence: str
) -> None:
    done = served.predict(served.workdir / "example.png", *arguments)
    assert done.returncode == 2
    assert sentence.format(version=served.version) in done.stderr.replace(
        str(ROOT / "runner.py"), "runner.py"
    )
    assert done.stderr.count("\n") == 1


def test_a_taken_port_is_one_sentence(served: Served) -> None:
    taken = served.ports["rest"]
    done = run_runner("serve", "--workdir", str(served.workdir), "--rest-port", str(taken))
    assert done.returncode == 2
    assert "taken by another program; choose another one with --" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_person_picks_a_photo_and_sees_ten_scores(
    served: Served, page: Page, page_problems: list[str], tmp_path: Path
) -> None:
    image = read_images(SAMPLE / "t10k-images-idx3-ubyte.gz")[0]
    chosen = tmp_path / "boot.jpg"
    chosen.write_bytes(photo(image, np.random.default_rng(0)))

    page.goto(f"http://127.0.0.1:{served.ports['ui']}/")
    page.set_input_files("#file", chosen)

    bars = page.locator("#scores li")
    expect(bars).to_have_count(len(CLASS_LABELS))
    told = served.predict(chosen, "--json", "--top", 10)
    best = json.loads(told.stdout)["predictions"][0]["labels"][0]
    expect(page.locator("#verdict")).to_have_text(f"{best['label']}, {100 * best['score']:.1f} %")
    expect(page.locator("#model")).to_have_text(f"fashion_mnist, version {served.version}")
    names = {text.splitlines()[0] for text in bars.all_inner_texts()}
    assert names == set(CLASS_LABELS)
    width, full = (page.locator(f"#scores li:first-child {part}") for part in (".fill", ".track"))
    share = width.bounding_box()["width"] / full.bounding_box()["width"]
    assert share == pytest.approx(best["score"], abs=0.02)

    page.set_input_files(
        "#file", {"name": "x.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
    )
    expect(page.locator("#verdict")).to_have_text(
        "This file cannot be read: it is not a picture in a known format."
    )
    expect(bars).to_have_count(0)
    # The browser reports the answer 415, and that it cannot show the file itself.
    assert [problem for problem in page_problems if "415" not in problem] == []


def test_a_person_draws_on_a_phone_in_the_dark(
    served: Served, page: Page, page_problems: list[str]
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    page.goto(f"http://127.0.0.1:{served.ports['ui']}/")
    box = page.locator("#paper").bounding_box()
    assert box is not None
    legs = [(0.35, 0.1, 0.35, 0.9), (0.6, 0.1, 0.6, 0.9), (0.35, 0.12, 0.6, 0.12)]
    for x, y, to_x, to_y in legs:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + to_x * box["width"], box["y"] + to_y * box["height"], steps=5)
        page.mouse.up()

    expect(page.locator("#scores li")).to_have_count(len(CLASS_LABELS))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in dark[4:-1].split(",")) < 64
    page.click("#clear")
    expect(page.locator("#scores li")).to_have_count(0)
    assert page_problems == []


def test_a_label_that_moves_is_taken_up_without_a_restart(served: Served) -> None:
    rest = f"127.0.0.1:{served.ports['rest']}"
    moved = run_runner(
        "models", "label", "canary", str(served.version), "--workdir", str(served.workdir),
        "--server", rest,
    )  # fmt: skip
    assert moved.returncode == 0, moved.stderr
    deadline = time.monotonic() + 60
    while served.predict(served.workdir / "example.png", "--label", "canary").returncode != 0:
        assert time.monotonic() < deadline, "the label is not taken up"


def test_sigterm_ends_it_and_all_that_it_started(served: Served) -> None:
    family = processes_of(psutil.Process(served.process.pid))
    assert len(family) > 1

    served.process.send_signal(signal.SIGTERM)

    assert served.process.wait(60) == 0
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


@pytest.mark.parametrize(("host", "literal"), [("127.0.0.2", "127.0.0.2"), ("::1", "[::1]")])
def test_a_server_on_another_address_is_found_there_past_a_proxy(
    smoke_run: SmokeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, literal: str
) -> None:
    if ":" in host and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    for name in ("http_proxy", "HTTP_PROXY", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    version = pushed(smoke_run, tmp_path)
    served = start_serve(tmp_path, version, "--ui", "--model-server", "embedded", "--host", host)
    try:
        said = "".join(served.said)
        assert f"REST http://{literal}:{served.ports['rest']}" in said
        (predict,) = served.commands("python")
        assert f"--server http://{literal}:{served.ports['rest']}" in predict
        for api, port in (("--json", served.ports["rest"]), ("--grpc", served.ports["grpc"])):
            done = run_runner(
                "predict", str(tmp_path / "example.png"), api, "--server", f"{literal}:{port}"
            )
            assert done.returncode == 0, done.stderr
        listing = run_runner(
            "models", "list", "--workdir", str(tmp_path), "--json",
            "--server", f"{literal}:{served.ports['rest']}",
        )  # fmt: skip
        assert json.loads(listing.stdout)["versions"][0]["live"] == "AVAILABLE"
    finally:
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(60) == 0


def test_an_address_of_another_machine_is_one_sentence(served: Served) -> None:
    done = run_runner("serve", "--workdir", str(served.workdir), "--host", "192.0.2.1")
    assert done.returncode == 2
    assert "cannot listen on 192.0.2.1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_nothing_pushed_and_no_server_are_one_sentence_each(tmp_path: Path) -> None:
    empty = run_runner("serve", "--workdir", str(tmp_path))
    assert empty.returncode == 2
    assert "nothing has been pushed to" in empty.stderr
    assert "runner.py run" in empty.stderr
    assert empty.stderr.count("\n") == 1
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    away = run_runner(
        "predict", str(tmp_path / "black.png"), "--server", f"127.0.0.1:{free_port()}"
    )
    assert away.returncode == 2
    assert "no model server answers at" in away.stderr
    assert "runner.py serve" in away.stderr
    assert away.stderr.count("\n") == 1


@pytest.mark.skipif(missing_engine() is not None, reason=str(missing_engine()))
def test_a_container_serves_the_labels_and_is_gone_afterwards(
    smoke_run: SmokeRun, tmp_path: Path
) -> None:
    import docker

    image = build_image(smoke_run.serving_dir, free_port())
    version = pushed(smoke_run, tmp_path, "--base-path", "/models/fashion_mnist")
    here = run_runner("serve", "--workdir", str(tmp_path), "--model-server", "embedded")
    assert here.returncode == 2
    assert "calls the directory /models/fashion_mnist, which only a container" in here.stderr

    setting = f"infra_validation.docker_image={image}"
    served = start_serve(tmp_path, version, "--model-server", "docker", "--set", setting)
    engine = docker.from_env()

    def containers() -> list[str]:
        found = engine.containers.list(all=True, filters={"label": OWNER_VARIABLE})
        return [one.id for one in found if f"{served.process.pid}." in one.labels[OWNER_VARIABLE]]

    try:
        assert len(containers()) == 1
        answer = served.predict(tmp_path / "example.png", "--label", "stable")
        assert answer.returncode == 0, answer.stderr
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(60) == 0
        assert containers() == []
    finally:
        served.process.kill()
        served.process.wait()
        engine.close()
