"""What is done with a board's agent: agent status, list, logs, restart, rollback, uninstall."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liteback.cli import tables
from liteback.cli.deploy import on_board
from liteback.cli.shared import Json, emit_json, out
from liteback_deploy.boards import BoardEntry

if TYPE_CHECKING:
    from liteback_deploy.facts import Facts
    from liteback_deploy.ssh import Connection

agent = typer.Typer(help="Look after the agent of a board.", no_args_is_help=True)


@agent.command()
@on_board
def status(
    board: BoardEntry,
    json: Json = False,
) -> None:
    """What is installed, whether it runs, and whether it answers."""
    from liteback.errors import AgentIncompatible
    from liteback_deploy import manage

    with connected(board) as connection:
        facts = manage.installed(connection)
    answers, problem = _asked(board)
    document = {**_versions(facts), "service": facts.service, "state": facts.running, "answers": bool(answers)}
    document |= {"agent": answers, "problem": problem, "target": board.name}
    if port := facts.direct[0]:
        straight, why_not = _asked(board, direct=True)
        document["direct"] = {"port": port, "answers": bool(straight), "problem": why_not}
    if json:
        emit_json(document)
    else:
        tables.agent_status(out, document)
    if not answers:
        raise typer.Exit(AgentIncompatible.exit_code)


@agent.command("list")
@on_board
def list_(
    board: BoardEntry,
    json: Json = False,
) -> None:
    """The versions on the board: the current one, and the one that `rollback` goes to."""
    from liteback_deploy.facts import gather

    with connected(board) as connection:
        facts = gather(connection)
    if json:
        emit_json({"target": board.name, **_versions(facts)})
    else:
        tables.versions(out, facts)


@agent.command()
@on_board
def logs(
    board: BoardEntry,
    lines: Annotated[int, typer.Option("-n", "--lines", min=1, help="How many of the last lines.")] = 100,
    json: Json = False,
) -> None:
    """The last lines of the agent's log."""
    from liteback_deploy import manage

    with connected(board) as connection:
        text = manage.logs(connection, lines)
    if json:
        emit_json({"target": board.name, "lines": text.splitlines()})
    elif text:
        sys.stdout.write(text)
    else:
        out.say(f"no log on {board.name}")


@agent.command()
@on_board
def restart(
    board: BoardEntry,
    json: Json = False,
) -> None:
    """End the agent and start it again; sessions on it end."""
    from liteback_deploy import manage

    with connected(board) as connection:
        facts = manage.restart(connection)
    _done(json, f"restarted agent {facts.current} on {board.name}", target=board.name, current=facts.current)


@agent.command()
@on_board
def rollback(
    board: BoardEntry,
    json: Json = False,
) -> None:
    """Go back to the version before; once more, and it is the newer one again."""
    from liteback_deploy import manage

    with connected(board) as connection:
        facts = manage.rollback(connection)
    text = f"agent {facts.previous} serves on {board.name} again; {facts.current} stays for another rollback"
    _done(json, text, target=board.name, current=facts.previous, previous=facts.current)


@agent.command()
@on_board
def uninstall(
    board: BoardEntry,
    purge: Annotated[bool, typer.Option("--purge", help="Models, token and logs too.")] = False,
    json: Json = False,
) -> None:
    """Remove the agent and its service from the board."""
    from liteback_deploy import manage

    with connected(board) as connection:
        facts = manage.uninstall(connection, purge)
    what = ", ".join([*facts.versions, *["models, token and logs"] * purge]) or "nothing"
    left = "" if purge else "; models, token and logs stay (--purge removes them)"
    _done(
        json, f"removed from {board.name}: {what}{left}", target=board.name, removed=list(facts.versions), purged=purge
    )


@contextmanager
def connected(board: BoardEntry) -> Iterator[Connection]:
    """An SSH connection to the board. Raises: BoardUnreachable, HostKeyError, and what the commands inside raise."""
    from liteback.session.remote import deploy_errors, dialler

    with deploy_errors(), dialler(board)() as connection:
        yield connection


def _asked(board: BoardEntry, direct: bool = False) -> tuple[str, str]:
    """The version of the agent that answers, or why none does."""
    from liteback.errors import LitebackError
    from liteback.session.board import Board
    from liteback.session.remote import RemoteAgent, dialler

    try:
        link = RemoteAgent(dialler(board), direct=direct)
        with Board(board.target, link.address, link.token, link.stop, link) as answering:
            return answering.info.agent_version, ""
    except LitebackError as error:
        return "", str(error)


def _versions(facts: Facts) -> dict[str, Any]:
    return {"versions": list(facts.versions), "current": facts.current, "previous": facts.previous}


def _done(json: bool, text: str, **document: Any) -> None:
    if json:
        emit_json(document)
    else:
        out.say(text)
