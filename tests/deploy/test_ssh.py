"""The SSH client against a real OpenSSH server: host keys, logins, jumps, commands, forwards, and links that die."""

from __future__ import annotations

import contextlib
import io
import os
import queue
import re
import shlex
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import paramiko
import psutil
import pytest

from board.namespaces import NamespaceBox
from deploy.sshd import Sshd
from liteback.session.remote import dialler
from liteback_deploy import ssh, ssh_config, terminal
from liteback_deploy.boards import BoardEntry
from liteback_deploy.connection import AgentLink
from liteback_deploy.endpoint import Endpoint, SshOptions
from liteback_deploy.errors import BadRequest, HostKeyRefused, LoginRefused, Unreachable, Unsuitable
from liteback_deploy.facts import gather
from liteback_deploy.ssh_config import resolve
from liteback_deploy.target import Target

PASSPHRASE = "correct horse"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "sshd")
    yield server
    server.stop()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    made: list[Sshd] = []

    def make(*settings: str) -> Sshd:
        made.append(Sshd(tmp_path / f"sshd-{len(made)}", settings))
        return made[-1]

    yield make
    for server in made:
        server.stop()


def endpoint(server: Sshd, *more: str) -> Endpoint:
    return resolve(Target(server.target), SshOptions(config=server.config(*more)))


def whoami(server: Sshd, *more: str, prompt: ssh.Prompt = lambda question: None) -> str:
    with ssh.connect(endpoint(server, *more), prompt) as connection:
        return connection.run(["id", "-un"]).stdout.strip()


def test_a_word_stays_a_word(server: Sshd) -> None:
    words = ["%s|", "a b", "$(id)", "`id`", "'", '"', "*", "\\", "\n", "", "ä", "-n", ";ls", "~", "${HOME}"]
    with ssh.connect(endpoint(server)) as connection:
        result = connection.run(["printf", *words])
    assert result.stdout == "".join(f"{word}|" for word in words[1:])


def test_what_a_command_gives(server: Sshd) -> None:
    with ssh.connect(endpoint(server)) as connection:
        result = connection.run(["sh", "-c", "tr a b; echo wrong >&2; exit 7"], b"aha" * 100_000)
        assert (result.code, result.stdout, result.stderr) == (7, "bhb" * 100_000, "wrong\n")
        with pytest.raises(Unreachable, match=r"no answer to `sleep` within 0 s"):
            connection.run(["sleep", "20"], timeout=0.2)


def test_an_upload(server: Sshd) -> None:
    data, seen = os.urandom(3_000_000), []
    with ssh.connect(endpoint(server)) as connection:
        result = connection.upload(io.BytesIO(data), ["sh", "-c", 'cat >"$HOME/file"'], seen.append)
    assert result.code == 0
    assert (server.home / "file").read_bytes() == data
    assert seen[-1] == len(data)


def test_a_command_that_takes_no_upload(server: Sshd) -> None:
    with ssh.connect(endpoint(server)) as connection:
        result = connection.upload(io.BytesIO(bytes(20_000_000)), ["sh", "-c", "echo full >&2; exit 3"], lambda n: None)
    assert (result.code, result.stderr) == (3, "full\n")


def test_an_unknown_host_key(server: Sshd) -> None:
    server.known_hosts.unlink()
    with pytest.raises(HostKeyRefused, match="not known") as refused:
        whoami(server)
    said = subprocess.run(["ssh-keygen", "-lf", f"{server.folder}/host"], capture_output=True, text=True, check=True)
    assert said.stdout.split()[1] in str(refused.value)
    # The command that the message gives accepts exactly that key.
    (accept,) = re.findall(r"^  (echo .*)$", str(refused.value), flags=re.MULTILINE)
    subprocess.run(accept, shell=True, check=True)
    assert whoami(server)


def test_a_changed_host_key(server: Sshd) -> None:
    server.stop()
    server.new_host_key()
    server.start()
    with pytest.raises(HostKeyRefused, match=r"has changed(.|\n)*Expected: ssh-ed25519 SHA256:") as refused:
        whoami(server)
    (forget,) = re.findall(r"^  (ssh-keygen .*)$", str(refused.value), flags=re.MULTILINE)
    subprocess.run(shlex.split(forget), check=True, capture_output=True)
    with pytest.raises(HostKeyRefused, match="not known"):
        whoami(server)


def test_a_revoked_host_key(server: Sshd) -> None:
    known = server.known_hosts.read_text()
    server.known_hosts.write_text(f"{known}@revoked * {known.partition(' ')[2]}")
    with pytest.raises(HostKeyRefused, match=r"revoked .*known_hosts:2"):
        whoami(server)


def test_strict_checking_cannot_be_switched_off(server: Sshd) -> None:
    server.known_hosts.unlink()
    with pytest.raises(HostKeyRefused):
        whoami(server, "StrictHostKeyChecking no")


def test_the_known_type_of_key_is_asked_for(servers: Callable[..., Sshd], tmp_path: Path) -> None:
    other = tmp_path / "ecdsa"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(other)], check=True)
    server = servers(f"HostKey={other}")
    server.known_hosts.write_text(f"[127.0.0.1]:{server.port} {other.with_suffix('.pub').read_text()}")
    assert whoami(server)


def encrypt(server: Sshd) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", str(server.key)], check=True)


def test_an_encrypted_key(server: Sshd) -> None:
    encrypt(server)
    asked: list[str] = []

    def prompt(question: str) -> str:
        asked.append(question)
        return PASSPHRASE

    assert whoami(server, prompt=prompt)
    assert asked == [f"Passphrase of {server.key}"]


@pytest.mark.parametrize("answer", [None, "wrong"])
def test_an_encrypted_key_that_nobody_opens(answer: str | None, server: Sshd) -> None:
    encrypt(server)
    with pytest.raises(Unreachable, match=r"refused the login.*user \(not usable\)"):
        whoami(server, prompt=lambda question: answer if "Passphrase" in question else None)


def test_the_agent_s_key(server: Sshd, tmp_path: Path) -> None:
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL)
    try:
        environment = {**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")}
        while not (tmp_path / "agent").exists():
            assert agent.poll() is None
        subprocess.run(["ssh-add", "-q", str(server.key)], env=environment, check=True)
        encrypt(server)  # so that the file alone would not do
        assert whoami(server, f"IdentityAgent {tmp_path / 'agent'}")
        for blocked in ("IdentityAgent none", f"IdentityAgent {tmp_path / 'nothing'}"):
            with pytest.raises(Unreachable, match="refused the login"):
                whoami(server, blocked)
        # With IdentitiesOnly a key of the agent's counts only if a key file of the configuration is its public half.
        server.key.with_suffix(".pub").unlink()
        with pytest.raises(Unreachable, match="refused the login"):
            whoami(server, f"IdentityAgent {tmp_path / 'agent'}")
    finally:
        agent.terminate()
        agent.wait()


def test_a_wrong_user(server: Sshd) -> None:
    with pytest.raises(Unreachable, match=r"nobody-here@127\.0\.0\.1.*refused the login(.|\n)*ssh-copy-id"):
        whoami(server, "User nobody-here")


def test_a_person_is_asked_once_until_an_answer_was_wrong(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str, stream: object) -> str:
        asked.append(question)
        return "wrong"

    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("getpass.getpass", answer)
    terminal.forget()
    assert [terminal.ask("Password for pi@one"), terminal.ask("Password for pi@one")] == ["wrong", "wrong"]
    assert asked == ["Password for pi@one: "]
    config = server.config("User nobody-here")
    entry = BoardEntry("board", Target(server.target), SshOptions(config=config))
    for _ in range(2):
        with pytest.raises(LoginRefused, match="the password"):
            dialler(entry)()
    assert len(asked) == 3


def test_no_prompt_in_batch_mode(server: Sshd) -> None:
    def prompt(question: str) -> str:
        pytest.fail(question)

    with pytest.raises(Unreachable):
        whoami(server, "BatchMode yes", "User nobody-here", prompt=prompt)


@pytest.mark.parametrize("setting", ["PubkeyAuthentication no", "PreferredAuthentications password"])
def test_a_configuration_without_keys(setting: str, server: Sshd) -> None:
    """The server would take the key, which the user's configuration does not offer."""
    asked: list[str] = []
    said = r"Tried: the password; the board takes .*configuration allows"
    with pytest.raises(LoginRefused, match=said) as refused:
        whoami(server, setting, prompt=lambda question: asked.append(question) or "wrong")
    assert asked == [f"Password for {endpoint(server)}"]
    assert "ssh-copy-id" not in str(refused.value)
    with pytest.raises(LoginRefused, match="Tried: nothing; "):
        whoami(server, setting, "BatchMode yes")


def test_a_configuration_without_passwords(server: Sshd) -> None:
    def prompt(question: str) -> str:
        pytest.fail(question)

    off = ["PasswordAuthentication no", "KbdInteractiveAuthentication no"]
    for settings in (["PreferredAuthentications publickey"], off):
        with pytest.raises(LoginRefused, match=r"configuration allows publickey\. Is the user right"):
            whoami(server, *settings, "User nobody-here", prompt=prompt)
    assert whoami(server, *off)


@pytest.mark.board
def test_a_password_either_way(new_box: Callable[..., NamespaceBox], tmp_path: Path) -> None:
    box = new_box()
    box.run("echo KbdInteractiveAuthentication yes > /etc/ssh/sshd_config.d/interactive.conf; systemctl restart ssh")
    for way in ("password", "keyboard-interactive"):
        config = tmp_path / way
        config.write_text(f"Host box\n  PreferredAuthentications {way}\n  BatchMode no\nInclude {box.ssh_config}\n")
        where = resolve(Target("box"), SshOptions(config=config))
        with ssh.connect(where, lambda question: box.endpoint.password) as connection:
            assert connection.run(["id", "-un"]).stdout == "pi\n"
        assert f"Accepted {way} for pi".replace("interactive", "interactive/pam") in box.run("journalctl -u ssh").stdout


def test_what_is_preferred_comes_first(server: Sshd) -> None:
    """Openssh's own order is keys first; and a wrong password leaves the key."""
    asked: list[str] = []
    assert whoami(server, prompt=lambda question: pytest.fail(question))
    order = "PreferredAuthentications password,publickey"
    assert whoami(server, order, prompt=lambda question: asked.append(question) or "wrong")
    assert len(asked) == 1


@pytest.mark.parametrize("without_openssh", [False, True])
def test_ways_to_log_in(without_openssh: bool, server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    if without_openssh:
        monkeypatch.setenv("PATH", str(server.folder))
    both = ("keyboard-interactive", "password")
    assert endpoint(server).methods == ("publickey", *both)
    assert endpoint(server, "PubkeyAuthentication no").methods == both
    assert endpoint(server, "PubkeyAuthentication unbound").methods == ("publickey", *both)
    assert endpoint(server, "PasswordAuthentication no").methods == ("publickey", both[0])
    assert endpoint(server, "ChallengeResponseAuthentication no").methods == ("publickey", both[1])
    preferred = "PreferredAuthentications gssapi-with-mic,password,publickey"
    assert endpoint(server, preferred).methods == ("password", "publickey")
    assert endpoint(server, preferred, "PasswordAuthentication no").methods == ("publickey",)
    assert endpoint(server, "PreferredAuthentications none").methods == ()


def test_nothing_listens(server: Sshd) -> None:
    where = endpoint(server)
    server.stop()
    with pytest.raises(Unreachable, match="Connection refused"):
        ssh.connect(where)


def test_something_else_listens(server: Sshd) -> None:
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)), pytest.raises(Unreachable, match="speak SSH"):
        whoami(server, "ConnectTimeout 1")


def test_a_jump_host(servers: Callable[..., Sshd]) -> None:
    jump, board = servers(), servers()
    together = jump.folder / "both"
    together.write_text(jump.config().read_text() + board.config().read_text())
    where = resolve(Target(board.target), SshOptions(config=together, jump=jump.target))
    assert [hop.port for hop in where.jumps] == [jump.port]
    with ssh.connect(where) as connection:
        assert connection.run(["sh", "-c", "echo $HOME"]).stdout.strip() == str(board.home)
    board.known_hosts.unlink()
    with pytest.raises(HostKeyRefused, match=f"127.0.0.1:{board.port} is not known"):
        ssh.connect(where)
    board.stop()
    with pytest.raises(Unreachable, match=r"jump host .* does not reach"):
        ssh.connect(where)


def test_a_jump_host_for_every_host(servers: Callable[..., Sshd]) -> None:
    jump, board = servers(), servers()
    text = jump.config().read_text() + board.config().read_text() + f"Host *\n  ProxyJump {jump.target}\n"
    (jump.folder / "both").write_text(text)
    where = resolve(Target(board.target), SshOptions(config=jump.folder / "both"))
    assert [hop.port for hop in where.jumps] == [jump.port]


def test_a_proxy_command(servers: Callable[..., Sshd]) -> None:
    jump, board = servers(), servers()
    assert whoami(board, f"ProxyCommand ssh -F {jump.config()} -W %h:%p {jump.target}")


def test_include_and_match_are_openssh_s(server: Sshd) -> None:
    config = server.folder / "outer"
    config.write_text(f"Include {server.config()}\nMatch host 127.0.0.1 exec true\n  User somebody\n")
    # `Match host` sees the name after HostName; User is set already, so the first one holds.
    assert resolve(Target(server.target), SshOptions(config=config)).user != "somebody"
    config.write_text(f"Match originalhost {server.target}\n  User somebody\nInclude {server.config()}\n")
    found = resolve(Target(server.target), SshOptions(config=config))
    assert (found.user, found.port) == ("somebody", server.port)


def test_without_openssh(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ssh = endpoint(server)
    monkeypatch.setenv("PATH", str(server.folder))
    without = endpoint(server)
    assert without == with_ssh
    ssh.connect(without).close()


def test_a_connection_that_ends_while_it_is_asked(server: Sshd) -> None:
    """Its thread ends with it, and says nothing."""
    for _ in range(5):  # paramiko's own thread may see it first
        connection = ssh.connect(endpoint(server))
        connection._transport.sock.close()
        connection._ask()
        connection.close()


def test_a_configuration_that_hangs_is_no_bug_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config"
    config.write_text('Match exec "sleep 3"\n  User nobody\n')
    monkeypatch.setattr(ssh_config, "_RESOLVE_SECONDS", 0.3)
    with pytest.raises(BadRequest, match="`Match exec` in it hang"):
        resolve(Target("box"), SshOptions(config=config))


def test_options_as_ssh_has_them(server: Sshd, tmp_path: Path) -> None:
    found = resolve(Target("127.0.0.1", "pi"), SshOptions(2200, server.key, None, server.config()))
    assert (found.user, found.port, found.identities[0]) == ("pi", 2200, server.key)
    with pytest.raises(BadRequest, match="given once"):
        resolve(Target("board", None, 22), SshOptions(port=23))
    with pytest.raises(BadRequest, match="ssh refuses its configuration"):
        resolve(Target("board"), SshOptions(config=tmp_path / "none"))


def test_a_login_without_a_shell(servers: Callable[..., Sshd]) -> None:
    server = servers("ForceCommand=echo This account is not available.; exit 1")
    with ssh.connect(endpoint(server)) as connection, pytest.raises(Unreachable, match=r"POSIX shell.*not available"):
        gather(connection)


def test_a_talkative_login_script(servers: Callable[..., Sshd]) -> None:
    server = servers('ForceCommand=echo Welcome; echo motd >&2; sh -c "$SSH_ORIGINAL_COMMAND"')
    with ssh.connect(endpoint(server)) as connection:
        assert gather(connection).home == str(server.home)


def test_an_sshd_that_forwards_nothing(servers: Callable[..., Sshd]) -> None:
    server = servers("AllowTcpForwarding=no")
    with ssh.connect(endpoint(server)) as connection, pytest.raises(ssh.ForwardingRefused, match="AllowTcpForwarding"):
        connection.open_tcp(server.port)


def test_a_board_without_an_agent(server: Sshd) -> None:
    where = endpoint(server)
    with pytest.raises(Unsuitable, match="`liteback deploy` installs one"):
        AgentLink(lambda: ssh.connect(where))


def test_a_board_that_hangs(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh, "ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(ssh, "DEAD_SECONDS", 1.0)
    with ssh.connect(endpoint(server)) as connection:
        children = server.connections()
        for child in children:
            child.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(Unreachable, match="was lost"):
                connection.run(["true"])
            deadline = time.monotonic() + 30
            while connection.alive:
                assert time.monotonic() < deadline
        finally:
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(signal.SIGCONT)


class Echo(socketserver.BaseRequestHandler):
    """What stands in for an agent behind the forward: it sends back what it gets."""

    def handle(self) -> None:
        for data in iter(lambda: self.request.recv(65536), b""):
            self.request.sendall(data)


@pytest.fixture
def echo(server: Sshd) -> Iterator[None]:
    state = server.home / ".local/share/liteback/state"
    state.mkdir(parents=True)
    (state.parent / "agent" / "version").mkdir(parents=True)
    (state.parent / "agent" / "current").symlink_to("version")
    (state / "token").write_text("a-token")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as listener:
        (state / "address").write_text(f"127.0.0.1:{listener.server_address[1]}\n")
        threading.Thread(target=listener.serve_forever).start()
        yield
        listener.shutdown()


def comes_back(link: AgentLink, data: bytes) -> bool:
    """Whether data sent into the forward is echoed; False when the connection ends instead."""
    with local_end(link) as local, contextlib.suppress(ConnectionError):
        sender = threading.Thread(target=local.sendall, args=(data,))
        sender.start()
        got = b""
        while len(got) < len(data) and (more := local.recv(65536)):
            got += more
        sender.join()
        return got == data
    return False


def local_end(link: AgentLink) -> socket.socket:
    host, _, port = link.address.rpartition(":")
    return socket.create_connection((host, int(port)), 30)


@pytest.mark.usefixtures("echo")
def test_a_link_that_ends_just_as_a_forward_is_closed(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of the forward ends in silence: an exception of its own fails the test."""
    close, closing = paramiko.Channel.close, queue.SimpleQueue[threading.Thread]()

    def without_a_link(channel: paramiko.Channel) -> None:
        close(channel)
        if (thread := threading.current_thread()).name == "liteback-forward":
            closing.put(thread)
            raise EOFError  # as where it cannot tell the other side

    where = endpoint(server)
    with contextlib.closing(AgentLink(lambda: ssh.connect(where))) as link:
        monkeypatch.setattr(paramiko.Channel, "close", without_a_link)
        assert comes_back(link, b"once")
        closing.get(timeout=30).join(30)


@pytest.mark.usefixtures("echo")
def test_a_forward_that_comes_back(server: Sshd) -> None:
    where = endpoint(server)
    with contextlib.closing(AgentLink(lambda: ssh.connect(where))) as link:
        assert link.token == "a-token"
        assert comes_back(link, b"once")
        assert comes_back(link, os.urandom(1_000_000))
        server.stop()
        assert not comes_back(link, b"nobody")  # it ends, it does not hang
        assert isinstance(link.failure, Unreachable)
        server.start()
        assert comes_back(link, b"again")
