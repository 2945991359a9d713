"""The cable between this machine and a box, and what can go wrong on it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import functools
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

CLONE_NEWNET = 0x40000000
CHUNK = 65536
HERE, BOX = "10.78.0.1", "10.78.0.2"
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
NO_RULES = "table inet fault\ndelete table inet fault\n"


class Link:
    """127.0.0.1:`port` of this machine, forwarded over a veth pair to port 22 of a box; 127.0.0.1:`direct_port` to the
    port of the same number there.

    One thread lives in a network namespace of its own, which holds this machine's end of the pair and goes when the
    thread goes: nothing is left behind, even by a run that was killed. What needs that namespace runs in `call`.

    Loss, rate and cuts are the kernel's, on the pair. Delay is added here, in the forwarder, since not every kernel
    has netem. A client of `port` sees a cut as silence, not as an unreachable network.
    """

    def __init__(self) -> None:
        self._listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        self.port, self.direct_port = (int(listener.getsockname()[1]) for listener in self._listeners)
        self._pid = 0  # a process of the box; 0 while there is no cable
        self._delay, self._loss, self._rate = 0.0, 0.0, ""
        self._clients: set[asyncio.StreamWriter] = set()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=f"link-{self.port}", daemon=True)
        self._thread.start()
        self._ready.result()

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(...)`, called in this machine's end of the link."""

        async def called() -> T:
            return function(*args, **kwargs)

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result()

    def connect(self, pid: int) -> None:
        """Lay a cable to the network namespace of process `pid`, as good or bad as `shape` said."""
        self._pid = pid
        here = f"link add wire type veth peer name eth0 netns {pid}\n" + _up("wire", HERE)
        there = "link set lo up\n" + _up("eth0", BOX)
        self._at_both_ends(lambda device: (["ip", "-batch", "-"], here if device == "wire" else there))
        self._apply()

    def disconnect(self) -> None:
        if self._pid:
            self._pid = 0
            with contextlib.suppress(RuntimeError):  # it has gone already, with the box's end
                self.call(run, ["ip", "link", "delete", "wire"])

    def plug(self, plugged: bool) -> None:
        if self._pid:
            self.call(run, ["ip", "link", "set", "wire", "up" if plugged else "down"])

    def shape(self, delay: float = 0, loss: float = 0, rate: str = "") -> None:
        """Each way: `delay` seconds late, dropped with probability `loss`, throttled to `rate` ("2mbit"; "": not)."""
        self._delay, self._loss, self._rate = delay, loss, rate
        if self._pid:
            self._apply()

    def _apply(self) -> None:
        def rules(device: str) -> tuple[list[str], str]:
            drop = f"iifname {device} numgen random mod 1000 < {round(self._loss * 1000)} drop"
            chain = f"table inet fault {{ chain input {{ type filter hook input priority 0; {drop}; }}; }}"
            return ["nft", "-f", "-"], NO_RULES + (chain if self._loss else "")

        def queue(device: str) -> tuple[list[str], str]:
            kind = ["tbf", "rate", self._rate, "burst", "16k", "latency", "200ms"] if self._rate else ["noqueue"]
            return ["tc", "qdisc", "replace", "dev", device, "root", *kind], ""

        self._at_both_ends(rules)
        self._at_both_ends(queue)

    def reset(self) -> None:
        """Reset every connection that is open now."""
        self.call(self._abort)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._closing.set)
            self._thread.join()

    def _at_both_ends(self, command: Callable[[str], tuple[list[str], str]]) -> None:
        """Run `command(device)`, a command and its input, here for `wire` and in the box's namespace for `eth0`."""
        self.call(run, *command("wire"))
        there, text = command("eth0")
        run(["nsenter", f"--net=/proc/{self._pid}/ns/net", *there], text)

    def _run(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
            self._ready.set_exception(OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno())))
        else:
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        forwards = (functools.partial(self._forward, port) for port in (22, self.direct_port))
        servers = [
            await asyncio.start_server(forward, sock=listener)
            for forward, listener in zip(forwards, self._listeners, strict=True)
        ]
        self._ready.set_result(None)
        await self._closing.wait()
        for server in servers:
            server.close()
        self._abort()

    def _abort(self) -> None:
        for client in self._clients:
            _reset(client)

    async def _forward(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._clients.add(writer)
        try:
            far_reader, far_writer = await self._reach(port)
            ends.append(far_writer)
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
            for end in ends:
                end.close()
            for end in ends:
                await end.wait_closed()
        except (OSError, asyncio.CancelledError):  # refused, reset, or the link is closed: so it is for the client
            _reset(writer)
        finally:
            self._clients.remove(writer)
            for end in ends:  # a close would wait for a dark board to take what is still to be sent
                end.transport.abort()

    async def _reach(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the box, however long that takes: what is out of reach is silent, as a cut cable is."""
        while True:
            try:
                return await asyncio.open_connection(BOX, port)
            except OSError as error:
                if error.errno not in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT):
                    raise
                await asyncio.sleep(0.1)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes one way until their end, each `delay` after it came and in order."""
        due = 0.0
        while chunk := await reader.read(CHUNK):
            due = max(due + 1e-6, self._loop.time() + self._delay)
            self._loop.call_at(due, writer.write, chunk)
            await writer.drain()
        await asyncio.sleep(due - self._loop.time())
        await writer.drain()
        writer.write_eof()


def _up(device: str, address: str) -> str:
    """For ip -batch."""
    return f"address add {address}/24 dev {device}\nlink set {device} up\n"


def _reset(client: asyncio.StreamWriter) -> None:
    """Close as a reset, without what is still to be sent. The other direction then ends by itself."""
    if not client.transport.is_closing():
        client.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        client.transport.abort()


def run(command: list[str], text: str = "") -> None:
    """Run `command` with `text` as its input. Raises: RuntimeError with what it said when it failed."""
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
