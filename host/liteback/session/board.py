"""The client of a board's agent: models go up, tensors come back.

with connect("local") as board:
    sha256 = board.put_model(data)
    with board.open(sha256, tensors=[3, 7], patches=[tap(data, [3])]) as session:
        step = session.invoke(0, {0: image})
"""

from __future__ import annotations

import hashlib
import queue
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from numpy.typing import NDArray

from liteback.errors import AgentIncompatible, BoardError, BoardUnreachable, RunFailed, UsageError
from liteback.files import read_model
from liteback.flatbuffer.tap import Patch
from liteback.inputs import Inputs, read_inputs
from liteback.inputs.sources import Arrays
from liteback.interrupts import sparing_locks
from liteback.lift import lift
from liteback.recording import Recording
from liteback.session.channel import open_channel
from liteback.session.failures import translated
from liteback.session.local import LocalAgent
from liteback.session.remote import RemoteAgent, board_entry, dialler
from liteback.session.run import Invocation, RunOptions, RunSession, input_chunks, run_config
from liteback_deploy.target import Target
from liteback_proto import PROTOCOL, agent_pb2, agent_pb2_grpc
from liteback_proto.tensors import CHUNK_BYTES

__all__ = ["Board", "Invocation", "RunOptions", "RunSession", "connect"]

_DEFAULTS = RunOptions()
_CONNECT_SECONDS = 20.0
_CALL_SECONDS = 60.0
_PATIENCE = 240.0  # seconds that a board behind a link may be away: long enough for it to boot
_RETRIES = 20
# What runtimes say of an operator, or of a type of its tensors, that they have no kernel for.
_UNKNOWN = re.compile(
    r"newer model|unresolved custom op|unsupported|not (currently )?supported|->type\b.* [!=]= ", re.IGNORECASE
)
_FLEX = "Flex"  # of its operators no runtime for boards has kernels
T = TypeVar("T")


def connect(target: str = "local", direct: bool | None = None) -> Board:
    """A board with a running agent, its protocol checked.

    target: `local`, for an agent process on this machine; `user@host[:port]`, an SSH alias, or a name of the boards
    file. direct: straight to the board's address with mutual TLS, not through an SSH forward; None: as the boards file
    says.

    Raises:
        UsageError: the target is malformed, a group of boards, `local` and direct, or the boards file breaks a rule.
        BoardUnreachable: no connection, or the login was refused.
        HostKeyError: the board's host key is unknown or has changed; directly also its certificate, or ours.
        AgentIncompatible: the agent is not there, does not start, or speaks another protocol.
    """
    entry = board_entry(target)
    agent: LocalAgent | RemoteAgent
    if entry.target.is_local:
        if direct:
            raise UsageError("--direct is for a board behind SSH. Received: --direct with the target local.")
        agent = LocalAgent()
    else:
        agent = RemoteAgent(dialler(entry), direct=entry.run.get("direct", False) if direct is None else direct)
    try:
        return Board(entry.target, agent.address, agent.token, agent.stop, link=agent)
    except BaseException:
        agent.stop()
        raise


class Board:
    """A connection to a running agent. A context manager; `close` also runs `on_close`."""

    def __init__(
        self,
        target: Target,
        address: str,
        token: str,
        on_close: Callable[[], None] = lambda: None,
        link: LocalAgent | RemoteAgent | None = None,
    ) -> None:
        """Connect to the agent at a gRPC address: of this machine (its own, or an SSH forward's end), or of the board's
        own where the link has keys for TLS.

        link: what the address comes from; one that can come back is waited for (see `persist`).

        Raises:
            BoardUnreachable: no connection, or the token is refused.
            AgentIncompatible: the agent speaks another protocol.
        """
        self.target = target
        self._on_close = on_close
        self._link = link if isinstance(link, RemoteAgent) else None
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._context = ExitStack()
        self._closed = False
        self._channel = open_channel(address, self._link.keys if self._link is not None else None)
        self._agent = agent_pb2_grpc.AgentStub(self._channel)  # type: ignore[no-untyped-call]
        try:
            self.info = self._checked_info()
        except BaseException:
            self._channel.close()
            raise

    def __enter__(self) -> Board:
        self._context.enter_context(sparing_locks())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._context:
            self.close()

    def __repr__(self) -> str:
        return f"<Board {self.target}: {self.info.board or self.info.hostname}, {self.info.machine}>"

    def close(self) -> None:
        """End the connection; an agent that `connect` started ends with it."""
        self._closed = True
        self._channel.close()
        self._on_close()

    @property
    def _stub(self) -> Any:
        if self._closed:
            raise UsageError(f"A board is used before it is closed. Received: {self!r}, closed. Connect anew.")
        return self._agent

    def persist(self, call: Callable[[], T]) -> T:
        """Call; if the board is lost meanwhile, wait until it is back and call again. An agent of this machine, once
        ended, does not come back.

        Raises: as `call` does; BoardUnreachable when the board stays away, or is lost again and again.
        """
        for _ in range(_RETRIES):
            try:
                return call()
            except BoardUnreachable as error:
                if self._link is None:
                    raise
                if self._comes_back(self._link):
                    continue
                if self._link.failure is None:
                    raise
                if isinstance(self._link.failure, BoardError):
                    self._link.failure.kept = error.kept
                raise self._link.failure from error
        return call()

    def put_model(self, data: bytes, progress: Callable[[int, int], None] | None = None) -> str:
        """Upload what the board does not hold yet; the model's sha256.

        progress: called with (bytes held, bytes in all) after each chunk.

        Raises:
            RunFailed: the store is full, or the data was damaged on the way.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        replies: queue.SimpleQueue[int] = queue.SimpleQueue()

        def requests() -> Iterator[agent_pb2.PutModelRequest]:
            yield agent_pb2.PutModelRequest(header=agent_pb2.ModelHeader(sha256=sha256, size=len(data)))
            for offset in range(replies.get(), len(data), CHUNK_BYTES):
                part = data[offset : offset + CHUNK_BYTES]
                yield agent_pb2.PutModelRequest(chunk=agent_pb2.ModelChunk(offset=offset, data=part))
                if progress is not None:
                    progress(offset + len(part), len(data))

        complete = False
        with translated("while uploading the model"):
            try:
                for reply in self._stub.PutModel(requests(), metadata=self._metadata):
                    complete = reply.complete
                    replies.put(reply.offset)
            finally:
                replies.put(len(data))  # a call that failed at once must not leave its sender waiting
        if not complete:
            raise RunFailed("The upload ended before the board had the whole model. Try again: it is resumed.")
        return sha256

    def models(self) -> dict[str, int]:
        """What the board's store holds: sha256 -> bytes."""
        with translated("while listing the models"):
            reply = self._stub.ListModels(agent_pb2.ListModelsRequest(), metadata=self._metadata, timeout=_CALL_SECONDS)
        return {model.sha256: model.size for model in reply.models}

    def delete_model(self, sha256: str) -> bool:
        """Remove a model from the board's store; whether it was there."""
        request = agent_pb2.DeleteModelRequest(sha256=sha256)
        with translated("while deleting a model"):
            return bool(self._stub.DeleteModel(request, metadata=self._metadata, timeout=_CALL_SECONDS).deleted)

    def open(
        self,
        sha256: str,
        options: RunOptions = _DEFAULTS,
        *,
        tensors: Sequence[int] = (),
        patches: Sequence[Patch] = (),
    ) -> RunSession:
        """A worker on the board with the patched model loaded.

        tensors: the inputs and outputs, tapped ones included, to read after each step.

        Raises:
            ModelRefused: the runtime does not take the model, or crashes over it.
            AgentIncompatible: the runtime, delegate or kernels are not to be had.
            RunFailed: the worker died, or a limit was reached.
        """
        config = run_config(sha256, options, tensors, patches)
        return RunSession(self._stub.Run, self._metadata, config, partial(self._newer, options))

    def _newer(self, options: RunOptions, refusal: str) -> str:
        """What to do where a file is newer than the runtime, by its words."""
        if not _UNKNOWN.search(refusal) or _FLEX in refusal:
            return ""
        names = [runtime.name for runtime in self.info.runtimes]
        others = [name for name in names if name != (options.runtime or names[0])]
        if others:
            return f" The board has another runtime, which may know it: --runtime {others[0]}."
        return " A newer runtime may know it (Python package ai-edge-litert); or convert the model for an older one."

    def benchmark(
        self,
        sha256: str,
        inputs: Mapping[int, NDArray[Any]],
        options: RunOptions = _DEFAULTS,
        warmup: int = 5,
        runs: int = 50,
        patches: Sequence[Patch] = (),
    ) -> list[int]:
        """Nanoseconds of each of `runs` invokes after `warmup` uncounted ones. Raises as `open` does."""
        request = agent_pb2.BenchmarkRequest(
            config=run_config(sha256, options, (), patches),
            inputs=input_chunks(0, inputs),
            warmup=warmup,
            runs=runs,
        )
        with translated("while measuring the latency"):
            return list(self._stub.Benchmark(request, metadata=self._metadata).invoke_ns)

    def capture(
        self,
        model: str | Path | bytes,
        inputs: Inputs | Path | str | Arrays | NDArray[Any],
        path: Path | str,
        **settings: Any,
    ) -> Recording:
        """Record what this board computes: `session.capture.capture`, from a file and its inputs.

        model: a .tflite file or its bytes. inputs: a file, a folder, arrays by the inputs' names, the array of an only
        input, or `liteback.inputs.random_inputs(...)`. path: the recording's folder. settings: options, select, budget,
        progress.

        Raises: as `session.capture.capture` and `inputs.read_inputs` do.
        """
        from liteback.session.capture import capture

        data = read_model(model)
        lifted = lift(data)
        if not isinstance(inputs, Inputs):
            inputs = read_inputs(inputs, lifted.main, signatures=lifted.signatures)
        return capture(self, lifted, data, inputs, path, **settings)

    def _comes_back(self, link: RemoteAgent) -> bool:
        """Wait until the agent answers again; False when it does not in time, or will not at all."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and link.failure is None:
            try:
                self.info = self._checked_info()
                return True
            except BoardUnreachable:
                time.sleep(1)
                link.wake()
        return False

    def _checked_info(self) -> agent_pb2.Info:
        with translated("while connecting"):
            info: agent_pb2.Info = self._stub.GetInfo(
                agent_pb2.GetInfoRequest(),
                metadata=self._metadata,
                timeout=_CONNECT_SECONDS,
                wait_for_ready=True,
            )
        if info.protocol != PROTOCOL:
            raise AgentIncompatible(
                f"Agent and host speak the same protocol. Received: {info.protocol} from agent "
                f"{info.agent_version} on {self.target}, {PROTOCOL} here. Deploy one version on both sides."
            )
        return info
