"""Links that are slow, lossy or cut, and boards that lose power: deployments are whole or not, captures go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

import small_models
from board.namespaces import NamespaceBox
from deploy.cli import Cli
from deploy.versions import change_sources
from liteback.deployment import Deployed, deploy
from liteback.errors import BoardError
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.recording import Recording
from liteback.session.board import connect

pytestmark = pytest.mark.board

AGENT = ".local/share/liteback/agent"
MODEL = small_models.chain(40)


@pytest.fixture
def deployed(new_box: Callable[..., NamespaceBox], cli: Cli) -> NamespaceBox:
    box = new_box()
    cli.knows(box=box)
    deploy("box")
    return box


@pytest.fixture(params=["forward", "direct"])
def reached(request: pytest.FixtureRequest, deployed: NamespaceBox, cli: Cli) -> NamespaceBox:
    """A board with an agent, reached in either way."""
    if request.param == "direct":
        cli.boards.write_text(f"[defaults]\ndirect = true\n{cli.boards.read_text()}")
        deploy("box", direct_port=deployed.direct_port)
    return deployed


def capture(folder: Path, samples: int) -> Recording:
    with connect("box") as board:
        return board.capture(MODEL, random_inputs(lift(MODEL).main, samples, seed=1), folder)


def in_mid_capture(folder: Path, samples: int, fault: Callable[[], None]) -> Recording:
    """A capture, and the fault once a part of it is recorded."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(capture, folder, samples)
        until(lambda: (folder / "sample_00003.plain.safetensors").exists(), running)
        assert not running.done()
        fault()
        return running.result(500)


def down_and_up(box: NamespaceBox, how: str) -> None:
    if how == "power_cut":
        box.power_cut()
        box.up()
    else:
        box.reboot()


def until(condition: Callable[[], bool], running: Future[object] | None = None) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        if running is not None and running.done():
            running.result()
        time.sleep(0.01)


def is_whole(recording: Recording, samples: int) -> None:
    certificate = recording.manifest.certificate
    assert certificate is not None
    assert certificate.good
    assert recording.sample_count == samples
    recording.verify()


@pytest.mark.slow
def test_a_bad_link_that_is_cut_for_a_while(reached: NamespaceBox, tmp_path: Path) -> None:
    def cut() -> None:
        with reached.fault("cut", seconds=20):
            time.sleep(20)

    with reached.fault("link", delay_ms=100, loss=0.1, rate="2mbit"):
        is_whole(in_mid_capture(tmp_path / "recording", 6, cut), 6)


def test_connections_that_are_reset(reached: NamespaceBox, tmp_path: Path) -> None:
    def reset() -> None:
        with reached.fault("reset"):
            pass

    with reached.fault("link", delay_ms=20):
        is_whole(in_mid_capture(tmp_path / "recording", 20, reset), 20)


@pytest.mark.parametrize("how", ["power_cut", "reboot"])
def test_a_board_that_goes_down_in_mid_capture(how: str, reached: NamespaceBox, tmp_path: Path) -> None:
    with reached.fault("link", delay_ms=20):
        is_whole(in_mid_capture(tmp_path / "recording", 20, lambda: down_and_up(reached, how)), 20)


@pytest.mark.parametrize("how", ["power_cut", "reboot"])
@pytest.mark.parametrize("moment", [".incoming-*", ".new-*", "NEW/bundle.json"])
def test_a_board_that_goes_down_in_mid_deployment(
    moment: str, how: str, deployed: NamespaceBox, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """moment: what there is in the agent's folder when the board goes down."""
    old = deploy("box").deployment.plan.bundle.id
    change_sources(monkeypatch, "server.py", f"\n# newer, for {moment}\n".encode())
    new = deploy("box", dry_run=True).deployment.plan.bundle.id
    seen = f"ls {AGENT}/{moment.replace('NEW', new)} 2>/dev/null"
    with deployed.fault("link", rate="100mbit"), ThreadPoolExecutor(1) as pool:
        running: Future[Deployed] = pool.submit(deploy, "box")
        until(lambda: bool(deployed.run(seen, user="pi", check=False).stdout))
        down_and_up(deployed, how)
        with pytest.raises(BoardError):
            running.result(120)
    until(lambda: bool(deployed.run("pgrep -f 'm [l]iteback_agent'", check=False).stdout))  # before anybody logs in
    now = deployed.run(f"readlink {AGENT}/current", user="pi").stdout.strip()
    assert now == old
    with connect("box") as board, board.open(board.put_model(MODEL)):
        pass
    assert deploy("box").deployment.plan.bundle.id == new
    assert deployed.run(f"readlink {AGENT}/current", user="pi").stdout.strip() == new
    assert not deployed.run(f"find {AGENT} -maxdepth 1 -name '.*' -type d -o -maxdepth 1 -name '.i*'", user="pi").stdout


def test_a_power_cut_while_direct_connections_are_set_up(deployed: NamespaceBox, cli: Cli) -> None:
    """The keys are on the board, and not yet here."""
    port = deployed.direct_port
    seen = "ls -d .local/share/liteback/state/tls 2>/dev/null"
    with ThreadPoolExecutor(1) as pool:
        running: Future[Deployed] = pool.submit(deploy, "box", direct=True, direct_port=port)
        until(lambda: bool(deployed.run(seen, user="pi", check=False).stdout))
        down_and_up(deployed, "power_cut")
        with pytest.raises(BoardError):
            running.result(120)
    for direct in (False, True):  # through SSH it serves as it did; the same deployment makes the rest good
        with connect("box", direct) as board, board.open(board.put_model(MODEL)):
            pass
        assert deploy("box", direct=True, direct_port=port).agent


def test_a_deployment_whose_link_is_cut_goes_on(deployed: NamespaceBox, monkeypatch: pytest.MonkeyPatch) -> None:
    change_sources(monkeypatch, "server.py", b"\n# newer, uploaded in two parts\n")
    dry = deploy("box", dry_run=True).deployment.plan
    got = threading.Event()

    def progress(done: int, total: int, text: str) -> None:
        if text == "upload" and done > dry.bundle.size // 2:
            got.set()

    with deployed.fault("link", rate="100mbit"), ThreadPoolExecutor(1) as pool:
        running = pool.submit(deploy, "box", progress=progress)
        assert got.wait(60)
        with deployed.fault("reset"), pytest.raises(BoardError):
            running.result(60)
        again = deploy("box").deployment.plan
    assert "going on at byte" in again.steps[0].does
    assert int(again.steps[0].arguments[1]) > 0
