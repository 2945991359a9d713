"""The service itself: who may call, what the rules of agent.proto give when they are broken."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import small_models
from liteback.session.board import Board
from liteback.session.local import LocalAgent
from liteback_proto import agent_pb2, agent_pb2_grpc
from liteback_proto.tensors import CHUNK_BYTES, chunks

Config = agent_pb2.RunConfig


@pytest.fixture(scope="module")
def channel(agent: LocalAgent) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(agent.address) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return agent_pb2_grpc.AgentStub(channel)


@pytest.fixture(scope="module")
def metadata(agent: LocalAgent) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {agent.token}")]


@pytest.fixture(scope="module")
def add(board: Board) -> str:
    return board.put_model(small_models.add())


def fails(status: grpc.StatusCode, kind: str, call: Callable[[], Any]) -> str:
    """The details of a call that must fail so."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    trailing = {item.key: item.value for item in caught.value.trailing_metadata()}
    assert (caught.value.code(), trailing.get("liteback-error", "")) == (status, kind)
    return str(caught.value.details())


@pytest.mark.parametrize("token", [None, "Bearer ", "Bearer wrong", "TOKEN", "Bearer TOKEN0", "bearer TOKEN"])
def test_every_call_needs_the_token(token: str | None, stub: Any, channel: grpc.Channel, agent: LocalAgent) -> None:
    given = [] if token is None else [("authorization", token.replace("TOKEN", agent.token))]
    health = health_pb2_grpc.HealthStub(channel)
    for call in (
        lambda: stub.GetInfo(agent_pb2.GetInfoRequest(), metadata=given),
        lambda: stub.DeleteModel(agent_pb2.DeleteModelRequest(), metadata=given),
        lambda: list(stub.PutModel(iter(()), metadata=given)),
        lambda: list(stub.Run(iter(()), metadata=given)),
        lambda: health.Check(health_pb2.HealthCheckRequest(), metadata=given),
        lambda: next(health.Watch(health_pb2.HealthCheckRequest(), metadata=given)),
    ):
        fails(grpc.StatusCode.UNAUTHENTICATED, "", call)


@pytest.mark.parametrize("service", ["", "liteback.v1.Agent"])
def test_health(service: str, channel: grpc.Channel, metadata: Any) -> None:
    reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), metadata=metadata)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_models_are_listed_and_deleted(stub: Any, metadata: Any, board: Board) -> None:
    data = small_models.chain(3)
    sha256 = board.put_model(data)
    listed = stub.ListModels(agent_pb2.ListModelsRequest(), metadata=metadata).models
    assert agent_pb2.ModelHeader(sha256=sha256, size=len(data)) in listed
    request = agent_pb2.DeleteModelRequest(sha256=sha256)
    assert stub.DeleteModel(request, metadata=metadata).deleted
    assert not stub.DeleteModel(request, metadata=metadata).deleted


def test_an_upload_whose_client_vanished_is_resumed(stub: Any, metadata: Any, board: Board) -> None:
    data = small_models.add() + bytes(3 * CHUNK_BYTES)
    sha256 = hashlib.sha256(data).hexdigest()
    header = agent_pb2.PutModelRequest(header=agent_pb2.ModelHeader(sha256=sha256, size=len(data)))
    chunk = agent_pb2.PutModelRequest(chunk=agent_pb2.ModelChunk(data=data[:CHUNK_BYTES]))
    replies = list(stub.PutModel(iter([header, chunk]), metadata=metadata))
    assert [(reply.offset, reply.complete) for reply in replies] == [(0, False), (CHUNK_BYTES, False)]
    seen: list[tuple[int, int]] = []
    assert board.put_model(data, lambda held, size: seen.append((held, size))) == sha256
    assert [held for held, _ in seen] == [2 * CHUNK_BYTES, 3 * CHUNK_BYTES, len(data)]
    with board.open(sha256) as session:
        assert list(session.ready.outputs) == [2]


def test_a_wrong_sha256_is_refused(stub: Any, metadata: Any) -> None:
    header = agent_pb2.PutModelRequest(header=agent_pb2.ModelHeader(sha256="0" * 64, size=1))
    chunk = agent_pb2.PutModelRequest(chunk=agent_pb2.ModelChunk(data=b"x"))
    fails(
        grpc.StatusCode.DATA_LOSS,
        "bad-data",
        lambda: list(stub.PutModel(iter([header, chunk]), metadata=metadata)),
    )


def damaged(chunk: agent_pb2.TensorChunk) -> agent_pb2.TensorChunk:
    chunk.data = chunk.data[:-1] + b"\x55"
    return chunk


INPUT = next(chunks(0, 0, np.ones((1, 4), np.float32)))
INVOKE = agent_pb2.RunRequest(invoke=agent_pb2.Invoke())


@pytest.mark.parametrize(
    ("config", "rest", "status", "kind", "says"),
    [
        (None, [INVOKE], "INVALID_ARGUMENT", "bad-request", "begins with `config`"),
        (Config(sha256="1" * 64), [], "NOT_FOUND", "no-such-model", "1" * 64),
        (Config(sha256="../x"), [], "INVALID_ARGUMENT", "bad-request", "64 lower-case hex"),
        (Config(tensors=[9]), [], "INVALID_ARGUMENT", "bad-request", "[9]"),
        (Config(invoke_seconds=math.nan), [], "INVALID_ARGUMENT", "bad-request", "invoke_seconds"),
        (Config(invoke_seconds=-1), [], "INVALID_ARGUMENT", "bad-request", "invoke_seconds"),
        (Config(runtime="other"), [], "FAILED_PRECONDITION", "no-runtime", "'other'"),
        (Config(delegate="/none.so"), [], "FAILED_PRECONDITION", "no-runtime", "/none.so"),
        (
            Config(patches=[agent_pb2.Patch(offset=1 << 40, replace=b"xxxx")]),
            [],
            "INVALID_ARGUMENT",
            "bad-request",
            "A patch ends at",
        ),
        (
            Config(),
            [agent_pb2.RunRequest(input=damaged(next(chunks(0, 0, np.ones((1, 4), np.float32))))), INVOKE],
            "DATA_LOSS",
            "bad-data",
            "crc32",
        ),
        (
            Config(),
            [agent_pb2.RunRequest(input=next(chunks(0, 7, np.ones(4)))), INVOKE],
            "INVALID_ARGUMENT",
            "bad-request",
            "tensor #7",
        ),
        (
            Config(),
            [agent_pb2.RunRequest(input=next(chunks(0, 0, np.ones((1, 4))))), INVOKE],
            "INVALID_ARGUMENT",
            "bad-request",
            "FLOAT64",
        ),
        (
            Config(),
            [agent_pb2.RunRequest(input=next(chunks(0, 0, np.ones(CHUNK_BYTES)))), INVOKE],
            "INVALID_ARGUMENT",
            "bad-request",
            "one is not",
        ),
        (
            Config(),
            [agent_pb2.RunRequest(config=Config()), INVOKE],
            "INVALID_ARGUMENT",
            "bad-request",
            "A session",
        ),
    ],
)
def test_broken_rules(
    config: Config | None,
    rest: list[Any],
    status: str,
    kind: str,
    says: str,
    stub: Any,
    metadata: Any,
    add: str,
) -> None:
    requests = list(rest)
    if config is not None:
        whole = Config(sha256=config.sha256 or add)
        whole.MergeFrom(config)
        requests.insert(0, agent_pb2.RunRequest(config=whole))
    details = fails(grpc.StatusCode[status], kind, lambda: list(stub.Run(iter(requests), metadata=metadata)))
    assert says in details


def test_the_server_loads_no_interpreter(agent: LocalAgent, board: Board, add: str) -> None:
    with board.open(add) as session:
        worker = Path(f"/proc/{session.ready.worker_pid}/maps").read_text()
        server = Path(f"/proc/{agent.pid}/maps").read_text()
    assert "_interpreter_wrapper" in worker
    assert "tflite" not in server
    assert "litert" not in server


def test_a_worker_is_a_child_of_the_server_and_gone_with_its_session(agent: LocalAgent, board: Board, add: str) -> None:
    with board.open(add) as session:
        worker = psutil.Process(session.ready.worker_pid)
        assert worker.ppid() == agent.pid
    assert not worker.is_running()
