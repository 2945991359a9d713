"""The boards file: what it may say, what a target then means, and what it says when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from liteback.cli.run import Run
from liteback_deploy import boards
from liteback_deploy.endpoint import SshOptions
from liteback_deploy.errors import BadRequest
from liteback_deploy.target import LOCAL, Target

TEXT = """
[defaults]
threads = 4

[boards.kitchen]
target = "pi@192.168.1.7:2222"
identity = "/keys/pi"
jump = "bastion"
kernels = "builtin"
threads = 2
direct = true

[boards.coral]
target = "mendel@coral"
delegate = "libedgetpu.so.1"

[groups]
lab = ["kitchen", "coral", "kitchen"]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's boards file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "liteback" / "boards.toml"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


@pytest.mark.usefixtures("file")
def test_what_a_target_means() -> None:
    known = boards.read()
    kitchen = known.one("kitchen")
    assert kitchen.target == Target("192.168.1.7", "pi", 2222)
    assert kitchen.ssh == SshOptions(None, Path("/keys/pi"), "bastion", None)
    assert kitchen.run == {"kernels": "builtin", "threads": 2, "direct": True}
    assert known.one("coral").run == {"delegate": "libedgetpu.so.1", "threads": 4}
    assert [board.name for board in known.find("@lab")] == ["kitchen", "coral"]
    assert [board.name for board in known.find("@all")] == ["kitchen", "coral"]
    assert known.one("local").target == LOCAL
    assert known.one("me@elsewhere:23").target == Target("elsewhere", "me", 23)
    with pytest.raises(BadRequest, match="One board at a time"):
        known.one("@lab")
    with pytest.raises(BadRequest, match=r"@lab, @all. Received: '@none'"):
        known.find("@none")


@pytest.mark.usefixtures("file")
def test_the_command_line_comes_before_the_file() -> None:
    assert Run().options_on("kitchen").kernels == "builtin"
    assert Run().options_on("kitchen").threads == 2
    told = Run(runtime="ai_edge_litert", kernels="reference", threads=3).options_on("kitchen")
    assert (told.runtime, told.kernels, told.threads) == ("ai_edge_litert", "reference", 3)
    assert Run().options_on("local").threads == 1
    assert SshOptions(port=1).over(SshOptions(port=2, jump="a")) == SshOptions(port=1, jump="a")


def test_no_file(tmp_path: Path) -> None:
    assert boards.read(tmp_path / "none.toml").boards == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[boards.a]\nhost = 'x'", r"\[boards\.a\] must have a `target`"),
        ("[boards.a]\ntarget = '-x'", r"\[boards\.a\]: A target is"),
        ("[boards.a]\ntarget = 'x'\nthread = 3", r"\[boards\.a\] may have target, .*direct\. Received: 'thread'"),
        ("[boards.a]\ntarget = 'x'\nthreads = 'many'", r"threads in \[boards\.a\] is a int"),
        ("[defaults]\nport = 22", r"\[defaults\] may have"),
        ("[groups]\nlab = ['nobody']", r"group lab must list boards of the file. Received: 'nobody'"),
        ("[groups]\nlab = []", r"group lab must list boards"),
        ("[board.a]\n", r"the file may have defaults, boards, groups"),
        ("[boards", r"cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file(text: str, reason: str, file: Path) -> None:
    file.write_text(text)
    with pytest.raises(BadRequest, match=reason):
        boards.read()
