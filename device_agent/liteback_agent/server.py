"""The gRPC server: it keeps models, starts workers and relays. It loads no interpreter."""

from __future__ import annotations

import contextlib
import hmac
import logging
import threading
from concurrent import futures
from typing import Any, Callable, Iterator

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from liteback_agent import facts
from liteback_agent.errors import STATUS, AgentError
from liteback_agent.process import WorkerProcess
from liteback_agent.store import Store
from liteback_proto import agent_pb2, agent_pb2_grpc

_log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 << 20  # Benchmark's inputs come in one message
_MAX_DETAILS = 2000  # bytes; gRPC may triple them, and drops a status whose metadata is beyond 8 KiB
_SPARE_THREADS = 8  # for calls beside the sessions; one more than that waits


class Agent(agent_pb2_grpc.AgentServicer):
    """The service of agent.proto."""

    def __init__(self, store: Store, limits: agent_pb2.Limits) -> None:
        self._store = store
        self._limits = limits
        self._sessions = threading.BoundedSemaphore(limits.sessions)

    def GetInfo(self, request: agent_pb2.GetInfoRequest, context: grpc.ServicerContext) -> agent_pb2.Info:
        return facts.info(self._store.folder, self._limits)

    def PutModel(
        self, requests: Iterator[agent_pb2.PutModelRequest], context: grpc.ServicerContext
    ) -> Iterator[agent_pb2.PutModelReply]:
        with _answering(context):
            header = next(requests, agent_pb2.PutModelRequest()).header
            upload = self._store.upload(header.sha256, header.size, context.is_active)
            with contextlib.closing(upload):
                yield agent_pb2.PutModelReply(offset=upload.held, complete=upload.stored)
                for request in requests:
                    upload.add(request.chunk.offset, request.chunk.data)
                if not upload.stored:
                    complete = upload.finish()
                    yield agent_pb2.PutModelReply(offset=upload.held, complete=complete)

    def ListModels(
        self, request: agent_pb2.ListModelsRequest, context: grpc.ServicerContext
    ) -> agent_pb2.ListModelsReply:
        models = [agent_pb2.ModelHeader(sha256=sha256, size=size) for sha256, size in self._store.models()]
        return agent_pb2.ListModelsReply(models=models)

    def DeleteModel(
        self, request: agent_pb2.DeleteModelRequest, context: grpc.ServicerContext
    ) -> agent_pb2.DeleteModelReply:
        with _answering(context):
            return agent_pb2.DeleteModelReply(deleted=self._store.delete(request.sha256))

    def Run(
        self, requests: Iterator[agent_pb2.RunRequest], context: grpc.ServicerContext
    ) -> Iterator[agent_pb2.RunReply]:
        with _answering(context):
            first = next(requests, agent_pb2.RunRequest())
            if first.WhichOneof("part") != "config":
                raise AgentError("bad-request", f"A Run begins with `config`: {first.WhichOneof('part')}")
            with self._worker(first.config, context) as worker:
                yield from worker.ask(first)
                for request in requests:
                    yield from worker.ask(request)

    def Benchmark(self, request: agent_pb2.BenchmarkRequest, context: grpc.ServicerContext) -> agent_pb2.BenchmarkReply:
        config = agent_pb2.RunConfig()
        config.CopyFrom(request.config)
        config.ClearField("tensors")
        step = agent_pb2.RunRequest(invoke=agent_pb2.Invoke(reset_state=True))
        times = []
        with _answering(context), self._worker(config, context) as worker:
            _last(worker.ask(agent_pb2.RunRequest(config=config)))
            for chunk in request.inputs:
                _last(worker.ask(agent_pb2.RunRequest(input=chunk)))
            for _ in range(request.warmup + request.runs):
                times.append(_last(worker.ask(step)).done.invoke_ns)
            peak = worker.peak_rss_bytes()
        return agent_pb2.BenchmarkReply(invoke_ns=times[request.warmup :], peak_rss_bytes=peak)

    @contextlib.contextmanager
    def _worker(self, config: agent_pb2.RunConfig, context: grpc.ServicerContext) -> Iterator[WorkerProcess]:
        """A worker that lives as long as the call; a client that goes away takes it along."""
        model = self._store.path(config.sha256)
        if not self._sessions.acquire(blocking=False):
            raise AgentError("busy", f"This board runs {self._limits.sessions} sessions at once. Try again later.")
        try:
            with WorkerProcess(model, config, self._limits) as worker:
                if not context.add_callback(worker.kill):
                    worker.kill()
                yield worker
        finally:
            self._sessions.release()


class TokenCheck(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Refuses every call, health included, that does not carry the deployment's token."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        given = dict(details.invocation_metadata).get("authorization", "")
        given = given if isinstance(given, bytes) else given.encode("utf-8", "replace")
        if hmac.compare_digest(given, self._expected):
            return continuation(details)
        return grpc.stream_stream_rpc_method_handler(_refuse)


def _refuse(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
    context.abort(grpc.StatusCode.UNAUTHENTICATED, "The call does not carry the token of this deployment.")


def serve(agent: Agent, token: str, sessions: int) -> grpc.Server:
    """The server with its services, not yet bound to an address nor started."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=sessions + _SPARE_THREADS),
        interceptors=[TokenCheck(token)],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
            # A host whose link was cut sends no end: its session must not hold a worker for ever.
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 60_000),  # on a slow link the answer waits behind what is buffered
            ("grpc.keepalive_permit_without_calls", 1),
            # A host without an SSH connection beneath asks as often, while a step takes its time.
            ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ],
    )
    agent_pb2_grpc.add_AgentServicer_to_server(agent, server)  # type: ignore[no-untyped-call]
    status = health.HealthServicer()
    for service in ("", "liteback.v1.Agent"):
        status.set(service, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(status, server)
    return server


@contextlib.contextmanager
def _answering(context: grpc.ServicerContext) -> Iterator[None]:
    """An AgentError becomes the status and the trailing metadata of the call."""
    try:
        yield
    except AgentError as error:
        _log.info("%s: %s", error.kind, error)
        context.set_trailing_metadata((("liteback-error", error.kind),))
        context.abort(
            STATUS[error.kind], str(error).encode("utf-8", "replace")[:_MAX_DETAILS].decode("utf-8", "ignore")
        )


def _last(replies: Iterator[agent_pb2.RunReply]) -> agent_pb2.RunReply:
    """The last of some replies; an empty one where there is none."""
    reply = agent_pb2.RunReply()
    for reply in replies:  # noqa: B007
        pass
    return reply
