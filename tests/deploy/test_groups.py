"""`--target @group`: a session on several boards at once; one that fails does not stop the others."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import small_models
from board.namespaces import NamespaceBox
from deploy.cli import Cli

pytestmark = pytest.mark.board

WORKER = "liteback_agent.worker"


@pytest.fixture
def boards(new_box: Callable[..., NamespaceBox], cli: Cli) -> tuple[NamespaceBox, NamespaceBox]:
    """The boards `one` and `other`, with an agent each."""
    one, other = new_box(), new_box()
    cli.knows(one=one, other=other)
    for name in ("one", "other"):
        cli.document("deploy", name)
    return one, other


def test_a_group_of_boards(boards: tuple[NamespaceBox, NamespaceBox], cli: Cli, tmp_path: Path) -> None:
    _, other = boards
    model, lab = tmp_path / "chain.tflite", tmp_path / "lab"
    model.write_bytes(small_models.chain(4))
    capture = ("capture", model, "--random", 3, "--target", "@lab", "-o", lab)

    both = cli.document(*capture)
    assert both["ok"]
    assert [board["board"] for board in both["boards"]] == ["one", "other"]
    assert all(board["certificate"]["good"] for board in both["boards"])

    found = cli.document("compare", lab)
    assert found["bit_equal"]
    assert found["pairs"][0]["boards"] == ["one", "other"]
    shown = cli("compare", lab / "one", lab / "other")
    assert "the same bits everywhere" in shown.stdout

    assert cli.document("doctor", "--target", "@lab")["ok"]
    proof = cli.document("prove", model, model, "--random", 2, "--target", "@lab", "-o", tmp_path / "proof")
    assert all(board["passed"] for board in proof["boards"])

    # A board fails: the others go on, its error and its exit code are told.
    other.run("systemctl stop ssh")
    again = cli(*capture[:-1], tmp_path / "later", "--json")
    assert again.returncode == 3, again.stderr
    good, bad = json.loads(again.stdout)["boards"]
    assert good["certificate"]["good"]
    assert (bad["board"], bad["exit_code"]) == ("other", 3)
    assert other.endpoint.host in bad["error"]
    assert cli("deploy", "@lab").returncode == 2


@pytest.mark.parametrize("seconds_lost", [1, 30], ids=["just lost", "waited for"])
def test_ctrl_c_while_a_board_of_a_group_is_lost(
    seconds_lost: float, boards: tuple[NamespaceBox, NamespaceBox], cli: Cli, tmp_path: Path
) -> None:
    one, other = boards
    model, lab = tmp_path / "chain.tflite", tmp_path / "lab"
    model.write_bytes(small_models.chain(4))
    command = cli.command("capture", model, "--random", 100_000, "--target", "@lab", "-o", lab)
    capture = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=cli.env())
    try:
        deadline = time.monotonic() + 120
        while not all((lab / name / "sample_00003.plain.safetensors").exists() for name in ("one", "other")):
            assert capture.poll() is None, capture.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert WORKER in one.run("ps -eo args").stdout
        with other.fault("cut"):
            time.sleep(seconds_lost)
            capture.send_signal(signal.SIGINT)
            start = time.monotonic()
            said = capture.communicate(timeout=60)[1]
            assert time.monotonic() - start < 6
    finally:
        capture.kill()
        capture.wait()
    assert capture.returncode == 130
    assert said.startswith("Interrupted. Not ended in order: other; "), said
    assert f"What was recorded is kept in {lab}" in said
    assert said.count("\n") == 1
    assert WORKER not in one.run("ps -eo args").stdout
