"""Does the agent run here?

python -m liteback_agent.check
    starts one on a spare port, asks it as a host would, and loads the runtime in a process beside it
python -m liteback_agent.check TOKEN_FILE ADDRESS_FILE
    asks the one that runs, or is just starting

It prints `ok` and what was found, or the reason.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
import time
from typing import Callable, List

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from liteback_agent.facts import RUNTIMES
from liteback_proto import agent_pb2, agent_pb2_grpc

_SECONDS = 60.0  # the first start compiles everything, on a slow board
_LOAD = "from liteback_agent.interpreter import load_runtime; r = load_runtime('')[1]; print(r.name, r.version)"


def main(argv: List[str]) -> int:
    """0: the agent serves and a runtime loads. 1: it does not; the reason is on stderr."""
    if argv:
        return _running(*argv)
    with tempfile.TemporaryDirectory(prefix="liteback-check-") as folder:
        try:
            info = _ask(folder)
            runtime = _output([sys.executable, "-c", _LOAD])
        except CheckFailed as error:
            sys.stderr.write(f"{error}\n")
            return 1
    sys.stdout.write(f"ok agent {info.agent_version} protocol {info.protocol} runtime {runtime}\n")
    return 0


def _running(token_file: str, address_file: str) -> int:
    """Wait until the agent that writes this address file serves."""
    try:
        address = _address(lambda: True, address_file)
        with open(token_file, encoding="ascii") as file:
            info = _call(address, file.read().strip())
    except (CheckFailed, OSError, grpc.RpcError) as error:
        sys.stderr.write(f"The agent does not serve: {error}\n")
        return 1
    sys.stdout.write(f"ok agent {info.agent_version} protocol {info.protocol} at {address}\n")
    return 0


class CheckFailed(Exception):
    """The agent does not run here."""


def _ask(folder: str) -> agent_pb2.Info:
    """Start the agent, call it, end it."""
    token, log = secrets.token_urlsafe(32), os.path.join(folder, "log")
    with open(os.open(os.path.join(folder, "token"), os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
        file.write(token)
    flags = ["--token-file", os.path.join(folder, "token"), "--store", os.path.join(folder, "models")]
    address_file = os.path.join(folder, "address")
    with open(log, "wb") as output:
        command = [sys.executable, "-m", "liteback_agent", "--address-file", address_file, *flags]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        return _call(_address(lambda: process.poll() is None, address_file), token)
    except (CheckFailed, grpc.RpcError) as error:
        with open(log, encoding="utf-8", errors="replace") as said:
            raise CheckFailed(f"The agent does not serve: {error} It said: {said.read()[-2000:]}") from error
    finally:
        process.terminate()
        process.wait()


def _address(alive: Callable[[], bool], path: str) -> str:
    deadline = time.monotonic() + _SECONDS
    while alive() and time.monotonic() < deadline:
        try:
            with open(path, encoding="ascii") as file:
                return file.read().strip()
        except FileNotFoundError:
            time.sleep(0.05)
    raise CheckFailed(f"it ended, or did not listen within {_SECONDS:.0f} s.")


def _call(address: str, token: str) -> agent_pb2.Info:
    metadata = (("authorization", f"Bearer {token}"),)
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest(), metadata=metadata, timeout=_SECONDS, wait_for_ready=True)
        if status.status != health_pb2.HealthCheckResponse.SERVING:
            raise CheckFailed(f"its health is {status.status}.")
        stub = agent_pb2_grpc.AgentStub(channel)  # type: ignore[no-untyped-call]
        info: agent_pb2.Info = stub.GetInfo(agent_pb2.GetInfoRequest(), metadata=metadata, timeout=_SECONDS)
        if not info.runtimes:
            raise CheckFailed(f"it finds none of {', '.join(RUNTIMES)}.")
        return info


def _output(command: List[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"The runtime does not load within {_SECONDS:.0f} s.") from error
    if result.returncode:
        said = result.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CheckFailed(f"The runtime does not load (code {result.returncode}): {''.join(said)}")
    return result.stdout.decode("ascii", "replace").strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
