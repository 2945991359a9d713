"""A real agent that the network reaches, for tests: its keys, its port."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from liteback.session.local import LocalAgent
from liteback_deploy import certificates
from liteback_deploy.certificates import BOARD, WORKSTATION, Pair
from ports import free_port


@dataclass(frozen=True)
class Pairs:
    """Both sides' keys. expected: the client certificate that the board has."""

    board: Pair
    client: Pair
    expected: bytes


def pairs(board_days: float = 1, client_days: float = 1) -> Pairs:
    client = certificates.make(WORKSTATION, client_days)
    return Pairs(certificates.make(BOARD, board_days), client, client.certificate)


def foreign(good: Pairs) -> Pairs:
    """With a workstation's keys that the board was never told of."""
    return replace(good, client=certificates.make(WORKSTATION, 1))


def flags(folder: Path, pairs: Pairs, port: int, host: str = "127.0.0.1") -> list[str]:
    """The agent's flags, and the files that they name."""
    files = {"cert": pairs.board.certificate, "key": pairs.board.key, "client-ca": pairs.expected}
    words = ["--tls-listen", f"{host}:{port}"]
    for name, content in files.items():
        path = folder / f"{name}.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        words += [f"--tls-{name}", str(path)]
    return words


@contextmanager
def agent(folder: Path, pairs: Pairs, host: str = "127.0.0.1") -> Iterator[tuple[LocalAgent, int]]:
    """An agent that listens with these keys, and its port."""
    port = free_port()
    running = LocalAgent(flags(folder, pairs, port, host), store=folder / "store")
    try:
        yield running, port
    finally:
        running.stop()
