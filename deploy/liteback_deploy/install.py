"""Doing what a plan says, step by step, over SSH."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from liteback_deploy import bundle as bundles
from liteback_deploy import keys, scripts
from liteback_deploy.direct import handshake
from liteback_deploy.errors import DeployError, Unsuitable
from liteback_deploy.facts import Facts, gather
from liteback_deploy.keys import Change
from liteback_deploy.matrix import select
from liteback_deploy.plan import Plan, Step, plan, preflight
from liteback_deploy.service import Kind
from liteback_deploy.ssh import Connection

Progress = Callable[[int, int, str], None]  # done, in all, what is under way
_AGAIN = 9  # how a script says: what was sent is not what was meant, send it again


@dataclass(frozen=True)
class Deployment:
    """A board and what is to be done on it."""

    facts: Facts
    plan: Plan


def prepare(
    connection: Connection,
    runtime: str = "",
    wheelhouse: Path | None = None,
    system: bool = False,
    direct: bool | None = None,
    direct_port: int | None = None,
) -> Deployment:
    """Ask the board what it is, choose and pack what it needs, and plan. Changes nothing on the board.

    Raises:
        Unsuitable: the board cannot take the agent; the message says why, and what to do.
        BadRequest: there is no such runtime, the wheelhouse lacks a wheel, or a port comes without `direct`.
        Unreachable: the link was lost.
    """
    connection.check_forwarding()
    facts = gather(connection)
    preflight(facts, system)
    change = keys.change(facts, connection.endpoint, direct, direct_port)
    selection = select(facts, runtime)
    bundle = bundles.build(selection, facts.python_path, wheelhouse)
    return Deployment(facts, plan(facts, bundle, selection.board_numpy, system, change))


def carry_out(connection: Connection, todo: Plan, progress: Progress = lambda done, total, text: None) -> None:
    """Do the steps of a plan. Each may be done again; one that fails leaves the version that serves as it was.

    Raises:
        Unsuitable: a step failed; the message has what the board said, and the remedy.
        Unreachable: the link was lost; the same deployment goes on from there. Or the board is not reached directly.
    """
    for number, step in enumerate(todo.steps):
        progress(number, len(todo.steps), step.name)
        _do(connection, todo, step, progress)
    if todo.direct is not None:
        _settle(connection, todo.service, todo.direct)
    progress(len(todo.steps), len(todo.steps), "done")


def _settle(connection: Connection, kind: Kind, change: Change) -> None:
    """Keep what the board has made of direct connections; but what it listens for in vain is taken back.

    Raises: as `handshake` does.
    """
    endpoint = connection.endpoint
    if change.port:
        try:
            handshake(endpoint.host, change.port, keys.stage(endpoint, change))
        except DeployError as error:
            raise type(error)(f"{error} {_taken_back(connection, kind)}") from error
        except BaseException:
            _taken_back(connection, kind)
            raise
    keys.settle(endpoint, change)
    scripts.checked(connection, "removing the old keys", "direct.sh", (kind, "keep"))


def _taken_back(connection: Connection, kind: Kind) -> str:
    """Make the board listen as it did before; in words, what came of it."""
    keys.unstage(connection.endpoint)
    try:
        scripts.checked(connection, "taking it back", "direct.sh", (kind, "back"))
    except DeployError as error:
        return f"The board still listens there, for {error}: `liteback deploy TARGET --no-direct` ends that."
    return "The agent runs, and listens as it did before: what --direct changed is taken back."


def _do(connection: Connection, todo: Plan, step: Step, progress: Progress) -> None:
    if not step.upload:
        scripts.checked(connection, step.name, step.script, step.arguments, step.data, step.seconds)
        return
    identifier, offset = step.arguments
    with todo.bundle.path.open("rb") as file:
        file.seek(int(offset))

        def sent(count: int) -> None:
            progress(int(offset) + count, todo.bundle.size, "upload")

        result = connection.upload(file, scripts.argv(step.script, identifier, offset), sent)
    if result.code == _AGAIN:
        raise Unsuitable(f"The upload to {connection.endpoint} was interrupted by another. Deploy again.")
    scripts.check(result, step.name, connection)
