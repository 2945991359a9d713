"""Put the agent on a board, and see that it answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liteback.errors import UsageError
from liteback.session.board import Board
from liteback.session.remote import RemoteAgent, deploy_errors, dialler, remote_board
from liteback_deploy import install
from liteback_deploy.boards import BoardEntry
from liteback_deploy.install import Deployment

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Deployed:
    """What was found, what was planned and, unless it was a dry run, done. agent: the version that answers."""

    target: str
    deployment: Deployment
    dry_run: bool
    agent: str
    seconds: float

    @property
    def changed(self) -> bool:
        return bool(self.deployment.plan.steps) and not self.dry_run

    def to_json(self) -> dict[str, Any]:
        plan = self.deployment.plan
        return {
            "target": self.target,
            "dry_run": self.dry_run,
            "changed": self.changed,
            "facts": self.deployment.facts.to_json(),
            "bundle": plan.bundle.to_json(),
            "service": plan.service,
            "direct": plan.direct.port if plan.direct is not None else self.deployment.facts.direct[0],
            "steps": [{"name": step.name, "does": step.does} for step in plan.steps],
            "notes": list(plan.notes),
            "agent": self.agent,
            "seconds": round(self.seconds, 2),
        }


def deploy(
    board: BoardEntry | str,
    *,
    runtime: str = "",
    wheelhouse: Path | None = None,
    system: bool = False,
    direct: bool | None = None,
    direct_port: int | None = None,
    dry_run: bool = False,
    progress: Progress = lambda done, total, text: None,
) -> Deployed:
    """Install the agent on a board, or find that it is installed already.

    board: an entry of the boards file, or what `--target` takes. runtime: `tflite_runtime`, `ai_edge_litert`, or empty:
    the first that fits the board. wheelhouse: a folder of wheels in place of the package index. system: a unit of the
    system's systemd, through sudo. direct: whether the board takes direct connections, at `direct_port`; None: as the
    boards file says, else as it is.

    Raises:
        UsageError: the target is `local`, or an option breaks a rule.
        BoardUnreachable, HostKeyError: no connection, or none directly where that was asked for.
        AgentIncompatible: the board cannot take the agent; the message says why, and what to do.
    """
    started = time.monotonic()
    if wheelhouse is not None and not wheelhouse.is_dir():
        raise UsageError(f"--wheelhouse is a folder of wheels. Received: {str(wheelhouse)!r}.")
    board = remote_board(board) if isinstance(board, str) else board
    dial = dialler(board)
    with deploy_errors(), dial() as connection:
        direct = board.run.get("direct") if direct is None else direct
        found = install.prepare(connection, runtime, wheelhouse, system, direct, direct_port)
        agent = ""
        if not dry_run:
            install.carry_out(connection, found.plan, progress)
            link = RemoteAgent(dial, connection, direct=bool(direct))
            with Board(board.target, link.address, link.token, link.stop, link) as answering:
                agent = answering.info.agent_version
    return Deployed(board.name, found, dry_run, agent, time.monotonic() - started)
