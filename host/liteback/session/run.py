"""One session on a board: what it runs, with which options, step by step."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from liteback.errors import ModelRefused, RunFailed, UsageError
from liteback.flatbuffer.tap import Patch
from liteback.session.failures import translated
from liteback_proto import agent_pb2
from liteback_proto.tensors import Assembler, TensorError, chunks

_KERNELS = {
    "default": agent_pb2.DEFAULT,
    "builtin": agent_pb2.BUILTIN,
    "reference": agent_pb2.REFERENCE,
}
MAX_THREADS = 256  # each is made when the model is loaded: a hundred thousand take minutes


@dataclass(frozen=True)
class RunOptions:
    """How the board runs a model.

    runtime: `tflite_runtime`, `ai_edge_litert`, or "" for the board's first. kernels: `default` (the
    runtime's own choice, XNNPACK included), `builtin` (optimised, no delegate) or `reference`. delegate: path
    of a shared library on the board; delegate_options: what it is told. threads: of the interpreter; 0 counts as 1.
    memory_bytes, invoke_seconds: the worker's limits; 0 is the agent's own.
    """

    runtime: str = ""
    kernels: str = "default"
    delegate: str = ""
    delegate_options: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    memory_bytes: int = 0
    invoke_seconds: float = 0.0


@dataclass(frozen=True)
class Invocation:
    """One step: the wanted tensors by index, as the device had them, and the time of invoke() alone."""

    sample: int
    tensors: dict[int, NDArray[Any]]
    invoke_ns: int


class RunSession:
    """One worker on the board. A context manager; its end is the worker's end.

    remedy: what the words of a refusal suggest to do.
    """

    def __init__(
        self, run: Any, metadata: Any, config: agent_pb2.RunConfig, remedy: Callable[[str], str] = lambda refusal: ""
    ) -> None:
        self._remedy = remedy
        self._requests: queue.SimpleQueue[agent_pb2.RunRequest | None] = queue.SimpleQueue()
        self._requests.put(agent_pb2.RunRequest(config=config))
        self._replies = run(iter(self._requests.get, None), metadata=metadata)
        self._assembler = Assembler()
        try:
            self.ready: agent_pb2.Ready = self._next_reply("while loading the model").ready
        except BaseException:
            self.cancel()
            raise

    def __enter__(self) -> RunSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close() if kind is None else self.cancel()

    def invoke(self, sample: int, inputs: Mapping[int, NDArray[Any]], *, reset_state: bool = True) -> Invocation:
        """Run one step. inputs: by tensor index, in the file's own types; one left out keeps its last value.

        reset_state: False goes on with the state of the step before, as in a sequence.

        Raises:
            RunFailed: the worker died, ran out of memory or time, or data was damaged. The session is over.
            ModelRefused: the runtime refuses to run the model.
            UsageError: an input has the wrong type, shape or index.
        """
        for chunk in input_chunks(sample, inputs):
            self._requests.put(agent_pb2.RunRequest(input=chunk))
        step = agent_pb2.Invoke(sample=sample, reset_state=reset_state)
        self._requests.put(agent_pb2.RunRequest(invoke=step))
        tensors: dict[int, NDArray[Any]] = {}
        shapes = ", ".join("×".join(map(str, array.shape)) or "scalar" for array in inputs.values())
        while True:
            reply = self._next_reply(f"while running sample {sample} ({shapes})")
            if reply.WhichOneof("part") == "done":
                return Invocation(sample, tensors, reply.done.invoke_ns)
            try:
                complete = self._assembler.add(reply.tensor)
            except TensorError as error:
                self.cancel()
                raise RunFailed(f"The agent sent a damaged tensor. {error} Run the sample again.") from error
            if complete is not None:
                tensors[complete[0]] = complete[1]

    def close(self) -> None:
        """End the session and wait until its worker is gone."""
        self._requests.put(None)
        with translated("while closing the session"):
            for _ in self._replies:
                pass

    def cancel(self) -> None:
        """End the session at once, also in the middle of a step (from another thread)."""
        self._replies.cancel()
        self._requests.put(None)

    def _next_reply(self, doing: str) -> agent_pb2.RunReply:
        try:
            with translated(doing):
                reply: agent_pb2.RunReply | None = next(self._replies, None)
        except ModelRefused as error:
            raise ModelRefused(f"{error}{self._remedy(str(error))}") from error
        if reply is None:
            raise RunFailed(f"The agent ended the session {doing}.")
        return reply


def run_config(
    sha256: str, options: RunOptions, tensors: Sequence[int], patches: Sequence[Patch]
) -> agent_pb2.RunConfig:
    """The options as the agent takes them.

    Raises:
        UsageError: there is no such kernel set, or a number is out of range.
    """
    if options.kernels not in _KERNELS:
        raise UsageError(f"kernels is one of {', '.join(_KERNELS)}. Received: {options.kernels!r}")
    if not 0 <= options.threads <= MAX_THREADS:
        raise UsageError(f"threads is a number up to {MAX_THREADS}. Received: {options.threads}.")
    if not 0 <= options.memory_bytes < 2**63:
        raise UsageError(f"memory_bytes is a number below 2**63. Received: {options.memory_bytes}.")
    if not options.invoke_seconds >= 0:
        raise UsageError(f"invoke_seconds is a number from 0. Received: {options.invoke_seconds}.")
    return agent_pb2.RunConfig(
        sha256=sha256,
        patches=[agent_pb2.Patch(offset=p.offset, replace=p.replace, append=p.append) for p in patches],
        tensors=tensors,
        runtime=options.runtime,
        kernels=_KERNELS[options.kernels],
        delegate=options.delegate,
        delegate_options=options.delegate_options,
        threads=options.threads,
        memory_bytes=options.memory_bytes,
        invoke_seconds=options.invoke_seconds,
    )


def input_chunks(sample: int, inputs: Mapping[int, NDArray[Any]]) -> Iterator[agent_pb2.TensorChunk]:
    """The inputs of a step, by tensor index, as chunks.

    Raises:
        UsageError: an array's type does not travel.
    """
    for index, array in inputs.items():
        try:
            yield from chunks(sample, index, array)
        except TensorError as error:
            raise UsageError(f"Input #{index} cannot be sent. {error}") from error
