"""`python -m liteback_agent.worker FD MODEL MEMORY`: one session, one interpreter, one process.

A malformed model can crash the runtime or corrupt its heap, so nothing but this session lives here.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import sys
import time
from typing import Any, Dict, List

from liteback_agent.errors import AgentError
from liteback_agent.wire import Wire
from liteback_proto import agent_pb2, tensors

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(argv: List[str]) -> None:
    descriptor, model, memory_bytes = int(argv[0]), argv[1], int(argv[2])
    # The parent may be gone already: then the socket is at its end, and the first read says so.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    memory_bytes = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    wire = Wire(socket.socket(fileno=descriptor))
    try:
        serve(wire, model)
    except AgentError as error:
        wire.fail(error)
    except tensors.ChecksumError as error:
        wire.fail(AgentError("bad-data", str(error)))
    except tensors.TensorError as error:
        wire.fail(AgentError("bad-request", str(error)))
    except MemoryError:
        wire.fail(AgentError("memory-limit", f"The worker reached its limit of {memory_bytes} bytes."))
    except ConnectionError:
        pass  # the server ended the session
    # No clean-up of what a bad model may have left of the heap.
    os._exit(0)


def serve(wire: Wire, model: str) -> None:
    """Answer requests until the other end closes."""
    session = None
    while True:
        data = wire.receive()
        if data is None:
            return
        request = agent_pb2.RunRequest.FromString(data)
        part = request.WhichOneof("part")
        if part == "config" and session is None:
            session = Session(wire, model, request.config)
        elif part == "input" and session is not None:
            session.take(request.input)
        elif part == "invoke" and session is not None:
            session.invoke(request.invoke)
        else:
            raise AgentError("bad-request", f"A session is `config`, then steps of `input` and `invoke`: {part}")


class Session:
    """The interpreter of this worker, and the inputs on their way to it."""

    def __init__(self, wire: Wire, model: str, config: agent_pb2.RunConfig) -> None:
        from liteback_agent.interpreter import Interpreter  # after the limits are set

        self._wire = wire
        self._assembler = tensors.Assembler()
        self._inputs: Dict[int, Any] = {}
        start = time.perf_counter_ns()
        self._interpreter = Interpreter(patched(model, config.patches), config)
        readable = {*self._interpreter.inputs, *self._interpreter.outputs}
        hidden = sorted(set(config.tensors) - readable)
        if hidden:
            raise AgentError("bad-request", f"Only inputs and outputs can be read; tap these tensors: {hidden}")
        self._wanted = list(config.tensors)
        ready = agent_pb2.Ready(
            runtime=self._interpreter.runtime,
            inputs=self._interpreter.inputs,
            outputs=self._interpreter.outputs,
            load_ns=time.perf_counter_ns() - start,
            worker_pid=os.getpid(),
        )
        self._reply(agent_pb2.RunReply(ready=ready))

    def take(self, chunk: agent_pb2.TensorChunk) -> None:
        """A part of an input of the next step. Raises: TensorError, where it breaks a rule of the codec."""
        complete = self._assembler.add(chunk)
        if complete:
            self._inputs[complete[0]] = complete[1]

    def invoke(self, step: agent_pb2.Invoke) -> None:
        """Run one step on the inputs taken; reply with the wanted tensors, and `done`.

        Raises:
            AgentError: `bad-request` when an input is not complete, or does not fit; `model-refused` by the runtime.
        """
        if not self._assembler.complete:
            raise AgentError("bad-request", "A step begins when its inputs are complete; one is not.")
        inputs, self._inputs = self._inputs, {}
        self._interpreter.feed(inputs)
        invoke_ns = self._interpreter.invoke(step.reset_state)
        for index in self._wanted:
            for chunk in tensors.chunks(step.sample, index, self._interpreter.read(index)):
                self._reply(agent_pb2.RunReply(tensor=chunk))
        self._reply(agent_pb2.RunReply(done=agent_pb2.Done(sample=step.sample, invoke_ns=invoke_ns)))

    def _reply(self, reply: agent_pb2.RunReply) -> None:
        self._wire.send(reply.SerializeToString())


def patched(path: str, patches: Any) -> bytes:
    """The stored file with the patches applied in memory, one after the other.

    Raises:
        AgentError: `bad-request` when a patch reaches beyond the file; `no-such-model` when it is gone.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise AgentError("no-such-model", f"The model cannot be read: {error}") from error
    for patch in patches:
        end = patch.offset + len(patch.replace)
        if end > len(data):
            raise AgentError("bad-request", f"A patch ends at byte {end} of a file of {len(data)} bytes.")
        data = b"".join((memoryview(data)[: patch.offset], patch.replace, memoryview(data)[end:], patch.append))
    return data


if __name__ == "__main__":
    main(sys.argv[1:])
