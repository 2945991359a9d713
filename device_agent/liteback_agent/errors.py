"""The one error of the agent. Kinds and their statuses are those at the head of agent.proto."""

from __future__ import annotations

import grpc

STATUS = {
    "bad-request": grpc.StatusCode.INVALID_ARGUMENT,
    "bad-data": grpc.StatusCode.DATA_LOSS,
    "no-such-model": grpc.StatusCode.NOT_FOUND,
    "store-full": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "no-runtime": grpc.StatusCode.FAILED_PRECONDITION,
    "model-refused": grpc.StatusCode.FAILED_PRECONDITION,
    "worker-died": grpc.StatusCode.ABORTED,
    "memory-limit": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "invoke-timeout": grpc.StatusCode.DEADLINE_EXCEEDED,
    "busy": grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class AgentError(Exception):
    """A call fails on purpose. kind: a key of STATUS. The message goes to the user of the host."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
