"""What the agent and gRPC report -> the errors of liteback.errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc

from liteback.errors import (
    AgentIncompatible,
    BoardUnreachable,
    LitebackError,
    ModelRefused,
    RunFailed,
    UsageError,
)

# `liteback-error` of agent.proto; every other kind ends the session early.
_KINDS: dict[str, type[LitebackError]] = {
    "bad-request": UsageError,
    "no-runtime": AgentIncompatible,
    "model-refused": ModelRefused,
}
_STATUSES: dict[grpc.StatusCode, type[LitebackError]] = {
    grpc.StatusCode.UNAVAILABLE: BoardUnreachable,
    grpc.StatusCode.DEADLINE_EXCEEDED: BoardUnreachable,
    grpc.StatusCode.CANCELLED: BoardUnreachable,  # the agent was stopped
    grpc.StatusCode.UNAUTHENTICATED: BoardUnreachable,
    grpc.StatusCode.UNIMPLEMENTED: AgentIncompatible,
}
_ADVICE = {
    "bad-data": "The connection or the memory damaged the data; try again.",
    "busy": "Wait for the other sessions, or start the agent with a larger --max-sessions.",
    "invoke-timeout": "See whether the model hangs; capture fewer tensors at once (--select, --budget), or start the "
    "agent with a larger --invoke-limit.",
    "memory-limit": "Allow more (--memory), or capture fewer tensors at once (--select, --budget).",
    "model-refused": "`liteback inspect` lists its operators and shapes; --runtime and --delegate choose what runs "
    "it, --inputs on what, where its shapes are free.",
    "no-runtime": "`liteback doctor` lists what the board has.",
    "no-such-model": "Upload the model, then open the session.",
    "worker-died": "The agent goes on: another session can be opened. A runtime that aborts on a file does so each "
    "time; another may run it (--runtime).",
}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """A gRPC error inside becomes one of liteback's, with `doing` as the place: `while uploading`.

    Raises:
        UsageError, AgentIncompatible, ModelRefused, RunFailed, BoardUnreachable: by the agent's kind, or else
            by the status.
    """
    try:
        yield
    except grpc.RpcError as error:
        raise translate(error, doing) from error


def translate(error: grpc.RpcError, doing: str) -> LitebackError:
    """The liteback error for a failed call."""
    kind = next((str(m.value) for m in error.trailing_metadata() or () if m.key == "liteback-error"), "")
    status = error.code()
    if kind:
        cause = _KINDS.get(kind, RunFailed)
    else:
        cause = _STATUSES.get(status, RunFailed)
    details = (error.details() or "").strip()
    sentence = details if details.endswith((".", "?", "!")) else f"{details}."
    advice = f" {_ADVICE[kind]}" if kind in _ADVICE else ""
    return cause(f"The board's agent failed {doing} ({kind or status.name}): {sentence}{advice}")
