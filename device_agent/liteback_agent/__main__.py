"""`python -m liteback_agent`: serve the board's interpreter to a workstation."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import List, Optional

# Workers are started by fork and exec out of a process with gRPC threads; gRPC's own fork handling is for
# forks that go on using gRPC. It must be off before grpc is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import grpc

from liteback_agent import facts, server
from liteback_agent import flags as rules
from liteback_agent.store import Store
from liteback_proto import agent_pb2
from liteback_proto.tensors import CHUNK_BYTES

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STOP_SECONDS = 2.0


def main(argv: Optional[List[str]] = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. 2: a flag breaks a rule. 1: an address or a file cannot be had."""
    flags = rules.parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    # Blocked before any thread starts, so that only sigwait below ever sees them.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        address, token = rules.loopback_address(flags.listen), rules.read_token(flags.token_file)
        network = rules.network(flags)
    except rules.FlagError as error:
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
    try:
        store = Store(flags.store, flags.store_quota)
    except OSError as error:
        sys.stderr.write(f"liteback-agent: --store {flags.store} cannot keep models: {error}\n")
        return 1
    running = server.serve(server.Agent(store, limits), token, flags.max_sessions)
    try:
        shown = listen(running, address)
        open_to_network = listen(running, *network) if network is not None else ""
        running.start()
        if flags.address_file:
            write_address(flags.address_file, shown)
    except (RuntimeError, OSError) as error:
        sys.stderr.write(f"liteback-agent: {error}\n")
        return 1
    sys.stdout.write(f"LISTENING {shown}\n" + (f"TLS {open_to_network}\n" if open_to_network else ""))
    sys.stdout.flush()
    if flags.exit_with_parent:
        threading.Thread(target=_stop_at_end_of_stdin, daemon=True).start()
    signal.sigwait(_STOP_SIGNALS)
    running.stop(None).wait(_STOP_SECONDS)
    return 0


def listen(running: grpc.Server, address: str, credentials: Optional[grpc.ServerCredentials] = None) -> str:
    """Bind to an address; it, with the port that was had.

    Raises:
        RuntimeError: it is in use, for root alone (a port below 1024), or none of this machine's.
    """
    try:
        if credentials is None:
            port = running.add_insecure_port(address)
        else:
            port = running.add_secure_port(address, credentials)
    except RuntimeError as error:
        why = "it is in use, for root alone, or none of this machine's"
        raise RuntimeError(f"cannot listen on {address}: {why}") from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


def write_address(path: str, address: str) -> None:
    """Tell where the agent listens: beside, then renamed, so that a reader finds a whole address or the old one."""
    with open(path + ".part", "w", encoding="ascii") as file:
        file.write(address + "\n")
    os.replace(path + ".part", path)


def _stop_at_end_of_stdin() -> None:
    # Not sys.stdin: its lock, held by a thread that waits, makes the interpreter abort at its end.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
