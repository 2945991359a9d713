"""The server's side of a worker: start it, pass requests on, know how it ended, leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import Iterator, Optional, Type

from liteback_agent.errors import AgentError
from liteback_agent.wire import Wire
from liteback_proto import agent_pb2

_STDERR_TAIL = 1000  # characters; gRPC's metadata, which carries the message, is bounded
_GOODBYE_SECONDS = 2.0  # a delegate's hardware wants to be let go of
# Of a worker's address space, where the host does not say: enough for any model that a board of that kind runs in
# practice (XNNPACK packs the weights anew, taps hold activations), and no file can take the board down with it.
DEFAULT_MEMORY = 2 << 30
_LOADING = "While loading the model"
# A runtime does this to itself over a damaged file. SIGKILL comes from outside.
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_LAST_REPLY = {"config": "ready", "invoke": "done"}


class WorkerProcess:
    """One worker. Any thread may `kill` it; whoever waits for its reply then learns that it died."""

    def __init__(self, model: str, config: agent_pb2.RunConfig, limits: agent_pb2.Limits) -> None:
        if not config.invoke_seconds >= 0:
            raise AgentError("bad-request", f"invoke_seconds is not negative, nor NaN: {config.invoke_seconds}")
        wanted = config.memory_bytes or DEFAULT_MEMORY + 4 * os.path.getsize(model)
        self._memory_bytes = min(wanted, limits.memory_bytes)
        self._load_seconds = limits.invoke_seconds
        self._step_seconds = min(config.invoke_seconds or limits.invoke_seconds, limits.invoke_seconds)
        self._doing = "starting"
        self._killed_because: Optional[AgentError] = None
        ours, theirs = socket.socketpair()
        self._wire = Wire(ours)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
        arguments = [str(theirs.fileno()), model, str(self._memory_bytes)]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "liteback_agent.worker", *arguments],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                # BLAS threads would take address space from the limit, for kernels that never run.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self._wire.close()
        try:
            self._process.wait(_GOODBYE_SECONDS if kind is None else 0)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        self._stderr.close()

    def ask(self, request: agent_pb2.RunRequest) -> Iterator[agent_pb2.RunReply]:
        """Pass a request on and yield its replies as they come.

        Raises:
            AgentError: what the worker says, or how it ended.
        """
        part = request.WhichOneof("part") or ""
        self._begin(part, request)
        try:
            self._wire.send(request.SerializeToString())
            while part in _LAST_REPLY:
                data = self._wire.receive()
                if data is None:
                    raise self._post_mortem()
                reply = agent_pb2.RunReply.FromString(data)
                yield reply
                if reply.WhichOneof("part") == _LAST_REPLY[part]:
                    return
        except socket.timeout as error:
            self.kill()
            raise AgentError("invoke-timeout", f"{self._doing}: no answer for {self._limit(part)} s.") from error
        except ConnectionError as error:
            raise self._post_mortem() from error

    def peak_rss_bytes(self) -> int:
        """The most memory the worker has had resident; 0 if it is gone."""
        try:
            with open(f"/proc/{self._process.pid}/status", encoding="ascii") as status:
                lines = [line for line in status if line.startswith("VmHWM:")]
            return int(lines[0].split()[1]) * 1024 if lines else 0
        except OSError:
            return 0

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()

    def _limit(self, part: str) -> float:
        return self._load_seconds if part == "config" else self._step_seconds

    def _begin(self, part: str, request: agent_pb2.RunRequest) -> None:
        self._wire.settimeout(self._limit(part))
        if part == "config":
            self._doing = _LOADING
        elif part == "invoke":
            self._doing = f"In the step of sample {request.invoke.sample}"
        else:
            self._doing = "While taking the inputs"

    def _post_mortem(self) -> AgentError:
        """How the worker ended, after its socket closed. Its last words may still wait in the socket."""
        try:
            while self._wire.receive() is not None:
                pass
        except AgentError as last_words:
            return last_words
        except OSError:
            pass
        try:
            code = self._process.wait(_GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._stderr.seek(0)
        said = self._stderr.read().decode("utf-8", "replace").strip()[-_STDERR_TAIL:]
        said = f" It said: {said}" if said else ""
        limit = f"its memory limit was {self._memory_bytes} bytes (--memory sets it)"
        if "bad_alloc" in said:
            return AgentError("memory-limit", f"{self._doing}: the worker ran out of memory; {limit}.{said}")
        if self._doing == _LOADING and -code in _CRASHES:
            name = signal.Signals(-code).name
            return AgentError("model-refused", f"{_LOADING}: the runtime crashed ({name}). Is the file whole?{said}")
        if code < 0:
            name = signal.Signals(-code).name
            hint = " The kernel does this when memory is short." if -code == signal.SIGKILL else ""
            return AgentError("worker-died", f"{self._doing}: the worker was ended by {name}; {limit}.{hint}{said}")
        return AgentError("worker-died", f"{self._doing}: the worker ended with code {code}.{said}")
