"""`python -m liteback_agent`: serve the board's interpreter to a workstation."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import signal
import stat
import sys
import threading
from typing import List, Optional

# Workers are started by fork and exec out of a process with gRPC threads; gRPC's own fork handling is for
# forks that go on using gRPC. It must be off before grpc is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from liteback_agent import VERSION, facts, server
from liteback_agent.store import Store
from liteback_proto import agent_pb2
from liteback_proto.tensors import CHUNK_BYTES

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STOP_SECONDS = 2.0
_MIN_TOKEN = 16  # characters


class FlagError(Exception):
    """A flag breaks a rule."""


def main(argv: Optional[List[str]] = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. 2: a flag breaks a rule. 1: the address cannot be had."""
    flags = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Blocked before any thread starts, so that only sigwait below ever sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        address, token = checked_address(flags.listen), read_token(flags.token_file)
    except FlagError as error:
        sys.stderr.write(f"liteback-agent: {error}\n")
        return 2
    limits = agent_pb2.Limits(
        memory_bytes=flags.memory_limit or facts.ram_bytes() or 1 << 31,
        invoke_seconds=flags.invoke_limit,
        store_bytes=flags.store_quota,
        sessions=flags.max_sessions,
        chunk_bytes=CHUNK_BYTES,
    )
    os.umask(0o077)
    running = server.serve(server.Agent(Store(flags.store, flags.store_quota), limits), token, flags.max_sessions)
    try:
        port = running.add_insecure_port(address)
    except RuntimeError as error:
        sys.stderr.write(f"liteback-agent: cannot listen on {address}: {error}\n")
        return 1
    running.start()
    shown = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
    if flags.address_file:
        write_address(flags.address_file, shown)
    sys.stdout.write(f"LISTENING {shown}\n")
    sys.stdout.flush()
    if flags.exit_with_parent:
        threading.Thread(target=_stop_at_end_of_stdin, daemon=True).start()
    signal.sigwait(_STOP_SIGNALS)
    running.stop(None).wait(_STOP_SECONDS)
    return 0


def checked_address(listen: str) -> str:
    """The address if only this machine can reach it.

    Raises:
        FlagError: it is open to the network, or is no address.
    """
    host, _, port = listen.rpartition(":")
    if host == "unix" and port:
        return listen
    host = host.strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
        valid = 0 <= int(port) < 65536
    except ValueError:
        loopback = valid = False
    if not (loopback and valid):
        raise FlagError(
            "--listen takes a loopback HOST:PORT or unix:PATH: a network address needs mutual TLS, which "
            f"this version does not have yet; reach the agent through an SSH forward. Received: {listen!r}"
        )
    return listen


def write_address(path: str, address: str) -> None:
    """Tell where the agent listens: beside, then renamed, so that a reader finds a whole address or the old one."""
    with open(path + ".part", "w", encoding="ascii") as file:
        file.write(address + "\n")
    os.replace(path + ".part", path)


def read_token(path: str) -> str:
    """The token of the deployment, from a file that only its owner can read.

    Raises:
        FlagError: the file is missing, open to others, or holds no token.
    """
    try:
        with open(path, encoding="ascii") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FlagError(f"--token-file cannot be read: {error}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FlagError(f"--token-file must be for its owner alone: chmod 600 {path}. Received: mode {mode:o}")
    if len(token) < _MIN_TOKEN:
        raise FlagError(f"A token has {_MIN_TOKEN} characters or more. Received: {len(token)} in {path}")
    return token


def _stop_at_end_of_stdin() -> None:
    # Not sys.stdin: its lock, held by a thread that waits, makes the interpreter abort at its end.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="liteback-agent", description=__doc__)
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT (0: any free one) or unix:PATH")
    parser.add_argument("--address-file", help="where to write the address that is listened on")
    parser.add_argument("--token-file", required=True, help="what every call must carry; mode 600")
    parser.add_argument("--store", required=True, help="folder of the models")
    parser.add_argument("--store-quota", type=int, default=2 << 30, help="bytes (default: %(default)s)")
    parser.add_argument("--memory-limit", type=int, default=0, help="bytes a worker (default: the board's RAM)")
    parser.add_argument("--invoke-limit", type=float, default=120.0, help="seconds a step (default: %(default)s)")
    parser.add_argument("--max-sessions", type=int, default=4, help="workers at once (default: %(default)s)")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input reaches its end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
