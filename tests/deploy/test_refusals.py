"""What can be wrong with a board or with the way there: each an exit code and a message with the remedy."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
from collections.abc import Callable

import pytest

from board.namespaces import NamespaceBox
from deploy.cli import Cli
from liteback.errors import AgentIncompatible
from liteback.session.remote import deploy_errors, dialler, remote_board
from liteback_deploy import install

pytestmark = pytest.mark.board


def refused(cli: Cli, code: int, *words: str, command: tuple[str, ...] = ("deploy", "box")) -> None:
    """The command ends with this code and says these words; no traceback, and nothing on stdout."""
    result = cli(*command)
    assert result.returncode == code, result.stderr
    for word in words:
        assert word in " ".join(result.stderr.split()), result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("variant", "code", "words"),
    [
        ("no-python", 5, ["needs Python 3.7 or newer", "sudo apt install python3"]),
        ("no-libstdc++", 5, ["libstdc++.so.6", "sudo apt install libstdc++6"]),
        ("read-only-home", 5, ["/home/pi must be writable", "findmnt"]),
        ("no-forwarding", 3, ["must allow TCP forwarding", "AllowTcpForwarding local"]),
        ("no-sudo", 5, ["lingering cannot be switched on for pi", "sudo loginctl enable-linger"]),
    ],
)
def test_a_board_that_cannot_take_the_agent(
    variant: str, code: int, words: list[str], new_box: Callable[..., NamespaceBox], cli: Cli
) -> None:
    box = new_box(variant=variant)
    cli.knows(box=box)
    refused(cli, code, *words)
    assert box.run("ls .local/share/liteback/agent/current", user="pi", check=False).returncode


def test_a_wrong_architecture(new_box: Callable[..., NamespaceBox], cli: Cli) -> None:
    box = new_box()
    cli.knows(box=box)
    box.run("mv /usr/bin/uname /usr/bin/uname.true")
    box.run(
        "cat >/usr/bin/uname; chmod 755 /usr/bin/uname",
        text='#!/bin/sh\n[ "$1" = -m ] && echo riscv64 || uname.true "$@"\n',
    )
    refused(cli, 5, "The architecture is in the way", "aarch64, armv7l, x86_64", "Received: riscv64, glibc 2.36")


@pytest.fixture(scope="module")
def sound(box: NamespaceBox) -> NamespaceBox:
    """A board that these tests leave without an agent."""
    return box


def test_a_host_key_that_is_not_known(sound: NamespaceBox, cli: Cli) -> None:
    cli.knows(box=sound)
    config = cli.config / "ssh_config"
    text = sound.ssh_config.read_text()
    known = next(line for line in text.splitlines() if "UserKnownHostsFile" in line)
    config.write_text(text.replace(known, f"  UserKnownHostsFile {cli.config / 'none'}"))
    refused(cli, 4, "is not known", "SHA256:", "then accept it: echo ", command=("deploy", "box", "-F", str(config)))


def test_a_host_key_that_has_changed(sound: NamespaceBox, cli: Cli) -> None:
    cli.knows(box=sound)
    with sound.fault("host-key"):
        refused(
            cli, 4, "has changed", "Expected: ssh-ed25519 SHA256:", "Received: ssh-ed25519 SHA256:", "ssh-keygen -R"
        )


def test_a_wrong_user(sound: NamespaceBox, cli: Cli) -> None:
    cli.knows(box=sound)
    refused(cli, 3, "refused the login", "ssh-copy-id", command=("deploy", "nobody@box", "-F", str(sound.ssh_config)))


def test_a_full_disk(sound: NamespaceBox, cli: Cli) -> None:
    cli.knows(box=sound)
    with sound.fault("disk-full", free_kb=50_000):
        refused(cli, 5, "MiB free for this agent", "Make room")


def test_a_disk_that_fills_meanwhile(sound: NamespaceBox, cli: Cli) -> None:
    """The plan was made before: what then fails says what to do, and a deployment after that goes well."""

    cli.knows(box=sound)
    with deploy_errors(), dialler(remote_board("box"))() as connection:
        todo = install.prepare(connection).plan
        with (
            sound.fault("disk-full", free_kb=40_000),
            pytest.raises(AgentIncompatible, match=r"No space left(.|\n)*df -h"),
            deploy_errors(),
        ):
            install.carry_out(connection, todo)
    assert cli.document("deploy", "box")["changed"]
    cli("agent", "uninstall", "box", "--purge")


def test_no_agent(sound: NamespaceBox, cli: Cli) -> None:
    cli.knows(box=sound)
    refused(cli, 5, "There is no agent", "`liteback deploy` installs one", command=("agent", "status", "box"))


def test_no_board(cli: Cli) -> None:
    refused(cli, 3, "Connection refused", command=("deploy", "pi@127.0.0.1:1"))
    refused(cli, 2, "needs no deployment", command=("deploy", "local"))
    refused(cli, 2, "A target is", command=("deploy", "pi@-oProxyCommand=x"))
    refused(cli, 2, "which names none: see docs/boards.md", command=("deploy", "@nobody"))


def test_a_password_is_asked_for_on_a_terminal_alone(sound: NamespaceBox, cli: Cli) -> None:
    cli.knows(box=sound)
    config = cli.config / "ssh_config"
    text = sound.ssh_config.read_text().replace("BatchMode yes", "BatchMode no")
    config.write_text(text.replace(str(sound.endpoint.key), str(cli.config / "no-key")) + "  IdentityAgent none\n")
    command = ("agent", "list", "box", "-F", str(config))
    refused(cli, 3, "nobody gave one", command=command)
    code, said = at_a_terminal(cli, command, "Password for pi@127.0.0.1", sound.endpoint.password)
    assert code == 0, said
    assert "no agent is installed" in said
    assert sound.endpoint.password not in said


def at_a_terminal(cli: Cli, command: tuple[str, ...], question: str, answer: str) -> tuple[int, str]:
    """Run a command at a terminal of its own, answer its question; its exit code and what the terminal showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *cli.command(*command)],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=cli.env(),
    )
    os.close(theirs)
    said = ""
    with open(ours, "r+b", buffering=0) as terminal, contextlib.suppress(OSError):  # EIO: nobody is there any more
        while data := terminal.read(4096):
            said += data.decode()
            if question in said and answer:
                terminal.write(f"{answer}\n".encode())
                answer = ""
    return process.wait(60), said
