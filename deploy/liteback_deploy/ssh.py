"""SSH: the only module that does it, and the only one that knows paramiko.

The host key is verified always, against the user's own known_hosts, and there is no flag that says otherwise. A link
that is cut is noticed: whatever hears nothing for DEAD_SECONDS ends as `Unreachable`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import paramiko

from liteback_deploy.endpoint import METHODS, Endpoint
from liteback_deploy.errors import DeployError, HostKeyRefused, LoginRefused, Unreachable
from liteback_deploy.known_hosts import KnownKey, fingerprint, known_keys, line_for

ALIVE_SECONDS = 5.0  # between two questions whether the board is still there
DEAD_SECONDS = 20.0
RUN_SECONDS = 120.0
_BLOCK = 64 << 10
# Key types of a known_hosts line -> the signatures by which a server may prove that it has such a key.
_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}

# paramiko logs as errors what comes back as an exception, too.
_WIRE = "liteback_deploy.wire"
logging.getLogger(_WIRE).setLevel(logging.CRITICAL)

# What a person is asked for (`Password for pi@board`) -> the answer; None: there is nobody to ask.
Prompt = Callable[[str], str | None]


@dataclass(frozen=True)
class Completed:
    """A command that ran on the board."""

    code: int
    stdout: str
    stderr: str


class Connection:
    """An open SSH connection. A context manager."""

    def __init__(self, endpoint: Endpoint, transport: paramiko.Transport, heard: _Heard, below: Connection | None):
        self.endpoint = endpoint
        self._transport = transport
        self._heard = heard
        self._below = below
        for watch in (self._ask, self._listen):
            threading.Thread(target=watch, daemon=True, name=watch.__name__).start()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        return bool(self._transport.is_active())

    def close(self) -> None:
        self._transport.close()
        if self._below is not None:
            self._below.close()

    def run(self, argv: Sequence[str], data: bytes = b"", timeout: float = RUN_SECONDS) -> Completed:
        """Run a command, its words quoted each by itself, and wait for its end. data: its standard input.

        Raises:
            Unreachable: the link was lost, or the command took longer than `timeout` seconds.
        """
        with self._channel(argv, timeout) as channel:
            sender = threading.Thread(target=_send_all, args=(channel, io.BytesIO(data)), daemon=True)
            sender.start()
            stdout, stderr = _read_all(channel, time.monotonic() + timeout)
            return Completed(self._exit_code(channel, argv), stdout, stderr)

    def upload(self, file: io.BufferedIOBase, argv: Sequence[str], progress: Callable[[int], None]) -> Completed:
        """Run a command that reads the rest of `file` from its standard input. progress: bytes sent so far.

        Raises:
            Unreachable: the link was lost.
        """
        with self._channel(argv, DEAD_SECONDS) as channel:
            sent = _send_all(channel, file, progress)
            stdout, stderr = _read_all(channel, time.monotonic() + RUN_SECONDS)
            code = self._exit_code(channel, argv)
            if not sent and code == 0:
                raise self._lost("while uploading")
            return Completed(code, stdout, stderr)

    def open_tcp(self, port: int) -> Any:
        """A channel to 127.0.0.1:port of the board: recv, sendall, close.

        Raises:
            Unreachable: the link was lost, nothing listens there, or sshd forwards nothing.
        """
        try:
            channel = self._transport.open_channel(
                "direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=DEAD_SECONDS
            )
        except paramiko.ChannelException as error:
            # RFC 4254, 5.1: 1 administratively prohibited, 2 connect failed.
            if error.code == 1:
                raise ForwardingRefused(
                    f"sshd on {self.endpoint} must allow TCP forwarding; it refuses. Set `AllowTcpForwarding local` in "
                    "its /etc/ssh/sshd_config and reload it."
                ) from error
            raise NothingListens(f"Nothing listens at 127.0.0.1:{port} on {self.endpoint} ({error.text}).") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost("while opening a forward") from error
        return channel

    def check_forwarding(self) -> None:
        """Raises: ForwardingRefused, where sshd forwards nothing."""
        with contextlib.suppress(NothingListens):
            self.open_tcp(1).close()

    @contextlib.contextmanager
    def _channel(self, argv: Sequence[str], timeout: float) -> Iterator[paramiko.Channel]:
        try:
            channel = self._transport.open_session(timeout=DEAD_SECONDS)
            channel.settimeout(timeout)
            with contextlib.closing(channel):
                channel.exec_command(shlex.join(argv))
                yield channel
        except TimeoutError as error:
            raise Unreachable(f"{self.endpoint} gave no answer to `{argv[0]}` within {timeout:.0f} s.") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(f"while running `{argv[0]}`") from error

    def _exit_code(self, channel: paramiko.Channel, argv: Sequence[str]) -> int:
        code = channel.recv_exit_status()
        if code == -1:  # the channel closed without one
            raise self._lost(f"while running `{argv[0]}`")
        return int(code)

    def _lost(self, doing: str) -> Unreachable:
        return Unreachable(f"The connection to {self.endpoint} was lost {doing}. Check the network and try again.")

    def _ask(self) -> None:
        """Make the board say something now and then."""
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):  # it has ended: whoever uses it is told
            while self.alive:
                self._transport.global_request("keepalive@openssh.com", wait=True)
                time.sleep(ALIVE_SECONDS)

    def _listen(self) -> None:
        while self.alive:
            if time.monotonic() - self._heard.last > DEAD_SECONDS:
                self._transport.close()
            time.sleep(1)


class ForwardingRefused(Unreachable):
    """sshd on the board forwards nothing."""


class NothingListens(Unreachable):
    """The board is there; what should be reached on it is not."""


def connect(endpoint: Endpoint, prompt: Prompt = lambda question: None) -> Connection:
    """Connect through the jump hosts, verify each host key, log in.

    Raises:
        HostKeyRefused: a host key is unknown, has changed or was revoked.
        Unreachable: no connection, or a login was refused.
    """
    below = None
    try:
        for hop in (*endpoint.jumps, endpoint):
            below = _hop(hop, below, prompt)
    except BaseException:
        if below is not None:
            below.close()
        raise
    if below is None:
        raise DeployError("An endpoint is at least one hop.")
    return below


def parsed_config(path: Path, host: str) -> dict[str, list[str]]:
    """What paramiko's parser finds in a configuration file: for machines without OpenSSH."""
    if not path.is_file():
        return {}
    found = paramiko.SSHConfig.from_path(str(path)).lookup(host)
    return {key: value if isinstance(value, list) else [value] for key, value in found.items()}


def _hop(endpoint: Endpoint, below: Connection | None, prompt: Prompt) -> Connection:
    heard = _Heard(_socket(endpoint, below))
    known = known_keys(endpoint.known_hosts, endpoint.known_as)
    transport = paramiko.Transport(heard)
    transport.set_log_channel(_WIRE)
    try:
        transport.banner_timeout = transport.auth_timeout = endpoint.connect_seconds
        _prefer(transport, known)
        try:
            transport.start_client(timeout=endpoint.connect_seconds)
            key = transport.get_remote_server_key()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Unreachable(f"{endpoint} does not speak SSH with us: {error or 'it hung up'}.") from error
        _verify(endpoint, known, key.get_name(), key.asbytes())
        _log_in(transport, endpoint, prompt)
    except BaseException:
        transport.close()
        raise
    return Connection(endpoint, transport, heard, below)


def _socket(endpoint: Endpoint, below: Connection | None) -> Any:
    """The bytes to the hop: over the one before, through a ProxyCommand, or straight."""
    if below is not None:
        try:
            return below._transport.open_channel(
                "direct-tcpip", (endpoint.host, endpoint.port), ("127.0.0.1", 0), timeout=endpoint.connect_seconds
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Unreachable(f"The jump host {below.endpoint} does not reach {endpoint}: {error}.") from error
    if endpoint.proxy_command:
        return _Proxy(endpoint.proxy_command)
    try:
        return socket.create_connection((endpoint.host, endpoint.port), endpoint.connect_seconds)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Unreachable(
            f"No connection to {endpoint}: {reason}. Is the board on, is its name or address right, is sshd running?"
        ) from error


class _Proxy:
    """A ProxyCommand of the user's configuration as a socket; run by the shell, as OpenSSH does."""

    def __init__(self, command: str) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"], stdin=theirs.fileno(), stdout=theirs.fileno()
            )

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class _Heard:
    """A socket that knows when it last received something."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self.last = time.monotonic()

    def recv(self, size: int) -> bytes:
        data: bytes = self._below.recv(size)
        self.last = time.monotonic()
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def _prefer(transport: paramiko.Transport, known: Sequence[KnownKey]) -> None:
    """Ask for a key of a type that is known, as OpenSSH does; any other would be unknown."""
    options = transport.get_security_options()
    types = [s for key in known if not key.revoked for s in _SIGNATURES.get(key.type, (key.type,))]
    first = [name for name in dict.fromkeys(types) if name in options.key_types]
    options.key_types = tuple([*first, *(name for name in options.key_types if name not in first)])


def _verify(endpoint: Endpoint, known: Sequence[KnownKey], key_type: str, blob: bytes) -> None:
    """Raises: HostKeyRefused, unless known_hosts has this very key."""
    shown = f"{key_type} {fingerprint(blob)}"
    for key in known:
        if key.revoked and key.blob == blob:
            raise HostKeyRefused(
                f"The host key of {endpoint} was revoked ({key.file}:{key.line}). Received: {shown}. "
                "Give the board a new host key: `sudo ssh-keygen -A` after removing the old ones."
            )
    trusted = [key for key in known if not key.revoked]
    if any(key.blob == blob for key in trusted):
        return
    same_type = next((key for key in trusted if key.type == key_type), None)
    file = endpoint.known_hosts[0] if endpoint.known_hosts else Path("~/.ssh/known_hosts")
    if same_type is not None:
        remove = shlex.join(["ssh-keygen", "-R", endpoint.known_as, "-f", str(same_type.file)])
        raise HostKeyRefused(
            f"The host key of {endpoint} has changed: somebody may be between you and the board, or the board was "
            f"installed anew.\nExpected: {same_type.type} {fingerprint(same_type.blob)} "
            f"({same_type.file}:{same_type.line})\nReceived: {shown}\nOnly if you know why, forget the old key:\n"
            f"  {remove}\nand then accept the new one as the next attempt will tell you."
        )
    accept = f"echo {shlex.quote(line_for(endpoint.known_as, key_type, blob))} >> {shlex.quote(str(file))}"
    raise HostKeyRefused(
        f"The host key of {endpoint} is not known.\nReceived: {shown}\nCompare it with what the board itself says "
        f"(ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub, on its console), then accept it:\n  {accept}"
    )


def _log_in(transport: paramiko.Transport, endpoint: Endpoint, prompt: Prompt) -> None:
    """Try what OpenSSH would: no proof at all, the agent's keys, key files, a password; in the order preferred.

    Raises:
        LoginRefused: nothing was accepted; the message lists what was tried.
    """
    tried: list[str] = []
    allowed: Sequence[str] | None = ()
    try:
        allowed = _attempt(transport.auth_none, endpoint.user)
        if allowed is None:
            return
        methods = [method for method in endpoint.methods if method in allowed]
        for way in dict.fromkeys(_by_key if method == "publickey" else _by_password for method in methods):
            if way(transport, endpoint, prompt, tried):
                return
    except (paramiko.SSHException, EOFError, OSError) as error:
        tried.append(f"the server ended it: {error or 'it hung up'}")
    raise LoginRefused(_refusal(endpoint, tried, allowed or ()))


def _refusal(endpoint: Endpoint, tried: Sequence[str], allowed: Sequence[str]) -> str:
    keyless = "nothing, for there is no key" if "publickey" in endpoint.methods else "nothing"
    ours = f"; your ssh configuration allows {', '.join(endpoint.methods) or 'nothing'}"
    remedy = f"`ssh-copy-id -p {endpoint.port} {endpoint.user}@{endpoint.host}` puts your key there."
    return (
        f"{endpoint} refused the login. Tried: {', '.join(tried) or keyless}; the board takes "
        f"{', '.join(allowed) or 'nothing'}{ours if set(endpoint.methods) != set(METHODS) else ''}. "
        f"Is the user right?{f' {remedy}' if 'publickey' in endpoint.methods else ''}"
    )


def _by_key(transport: paramiko.Transport, endpoint: Endpoint, prompt: Prompt, tried: list[str]) -> bool:
    with contextlib.closing(_keys(endpoint, prompt)) as keys:
        for name, key in keys:
            tried.append(name if key is not None else f"{name} (not usable)")
            if key is not None and _attempt(transport.auth_publickey, endpoint.user, key) is None:
                return True
    return False


def _by_password(transport: paramiko.Transport, endpoint: Endpoint, prompt: Prompt, tried: list[str]) -> bool:
    """One question, whichever way the board then takes the answer."""
    if endpoint.batch:
        return False
    password = prompt(f"Password for {endpoint}")
    tried.append("no password: nobody gave one (it is asked for on a terminal)" if password is None else "the password")
    if password is None:
        return False

    def answers(title: str, instructions: str, questions: Sequence[Any]) -> list[str]:
        return [password for _ in questions]

    if "password" not in endpoint.methods:
        return _attempt(transport.auth_interactive, endpoint.user, answers) is None
    fallback = "keyboard-interactive" in endpoint.methods  # where the board takes no password as such
    return _attempt(transport.auth_password, endpoint.user, password, None, fallback) is None


def _attempt(authenticate: Callable[..., Any], *arguments: Any) -> Sequence[str] | None:
    """None after a success, else what the server would take."""
    try:
        remaining = authenticate(*arguments)
    except paramiko.BadAuthenticationType as error:
        return tuple(error.allowed_types)
    except paramiko.AuthenticationException:
        return ()
    return tuple(remaining) or None


def _keys(endpoint: Endpoint, prompt: Prompt) -> Generator[tuple[str, paramiko.PKey | None], None, None]:
    """Name and key, the agent's first; with IdentitiesOnly, of the agent's only those named. A passphrase is asked for
    when its key's turn comes."""
    named = {_public_blob(path) for path in endpoint.identities} - {None}
    in_agent = []
    with _agent(endpoint.agent) as keys:
        for key in keys:
            if endpoint.identities_only and key.asbytes() not in named:
                continue
            in_agent.append(key.asbytes())
            yield f"the agent's {key.get_name()} {fingerprint(key.asbytes())}", key
    for path in endpoint.identities:
        if path.is_file() and _public_blob(path) not in in_agent:
            yield str(path), _load(path, prompt, endpoint.batch)


@contextlib.contextmanager
def _agent(address: str) -> Iterator[Sequence[paramiko.PKey]]:
    """The keys of the SSH agent that listens at a socket, while it is asked to sign; none where there is no agent."""
    agent = None
    if Path(address).is_socket():
        with contextlib.suppress(OSError, paramiko.SSHException), _at(address):
            agent = paramiko.Agent()
    try:
        yield agent.get_keys() if agent is not None else ()
    finally:
        if agent is not None:
            agent.close()


@contextlib.contextmanager
def _at(agent: str) -> Iterator[None]:
    """paramiko finds the agent by this variable alone."""
    before = os.environ.get("SSH_AUTH_SOCK")
    os.environ["SSH_AUTH_SOCK"] = agent
    try:
        yield
    finally:
        if before is None:
            del os.environ["SSH_AUTH_SOCK"]
        else:
            os.environ["SSH_AUTH_SOCK"] = before


def _public_blob(path: Path) -> bytes | None:
    """The public half that lies beside a private key, as SSH sends it."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return bytes(paramiko.pkey.PublicBlob.from_file(f"{path}.pub").key_blob)
    return None


def _load(path: Path, prompt: Prompt, batch: bool) -> paramiko.PKey | None:
    """A private key; None where it cannot be read, or is encrypted and nobody gives the passphrase."""
    try:
        return paramiko.PKey.from_path(str(path))
    except (TypeError, paramiko.PasswordRequiredException):  # encrypted: cryptography says so with a TypeError
        passphrase = None if batch else prompt(f"Passphrase of {path}")
    except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        return None
    with contextlib.suppress(ValueError, paramiko.SSHException):
        return paramiko.PKey.from_path(str(path), passphrase.encode()) if passphrase else None
    return None


def _send_all(
    channel: paramiko.Channel, file: io.BufferedIOBase, progress: Callable[[int], None] | None = None
) -> bool:
    """The rest of a file into the command's standard input; False where the command stopped reading."""
    sent = 0
    try:
        for block in iter(lambda: file.read(_BLOCK), b""):
            channel.sendall(block)
            sent += len(block)
            if progress is not None:
                progress(sent)
        channel.shutdown_write()
    except (OSError, EOFError):
        return False
    return True


def _read_all(channel: paramiko.Channel, deadline: float) -> tuple[str, str]:
    """Everything the command says on stdout and stderr.

    Raises:
        TimeoutError: it did not end before the deadline.
    """
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    while True:
        ended = channel.exit_status_ready() or channel.closed
        more = False
        for ready, receive, part in (
            (channel.recv_ready, channel.recv, parts[0]),
            (channel.recv_stderr_ready, channel.recv_stderr, parts[1]),
        ):
            while ready():
                part.append(receive(_BLOCK))
                more = True
        if ended and not more and (channel.eof_received or channel.closed):
            return (b"".join(parts[0]).decode("utf-8", "replace"), b"".join(parts[1]).decode("utf-8", "replace"))
        if time.monotonic() > deadline:
            raise TimeoutError
        if not more:
            time.sleep(0.01)
