"""The command that puts the agent on a board: deploy."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from liteback.cli import tables
from liteback.cli.shared import Json, Runtime, emit_json, err, out, parsed_as, progress
from liteback_deploy.boards import BoardEntry

_WAY_THERE: dict[str, Any] = {
    "target": Annotated[
        str, typer.Argument(metavar="TARGET", help="user@host[:port], an SSH alias, or a board of the boards file.")
    ],
    "port": Annotated[int | None, typer.Option("-p", "--port", help="As ssh's -p.", min=1, max=65535)],
    "identity": Annotated[Path | None, typer.Option("-i", "--identity", metavar="FILE", help="As ssh's -i.")],
    "jump": Annotated[str | None, typer.Option("-J", "--jump", metavar="HOST", help="As ssh's -J.")],
    "config": Annotated[Path | None, typer.Option("-F", "--ssh-config", metavar="FILE", help="As ssh's -F.")],
}

_Direct = Annotated[
    bool | None,
    typer.Option(
        "--direct/--no-direct",
        help="Let the agent take direct connections, with mutual TLS; or no more. As it is, if not given.",
        show_default=False,
    ),
]
_DirectPort = Annotated[
    int | None, typer.Option(metavar="PORT", help="Where it takes them; 50443.", min=1, max=65535, show_default=False)
]


def on_board(command: Callable[..., None]) -> Callable[..., None]:
    """A command about a board: its first argument is the board's entry, made from TARGET and from ssh's options."""
    _, *own = inspect.signature(command, eval_str=True).parameters.values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    target, *way_there = (inspect.Parameter(n, keyword, default=None, annotation=h) for n, h in _WAY_THERE.items())
    options = [p.replace(kind=keyword) for p in own]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        from liteback.session.remote import remote_board
        from liteback_deploy.endpoint import SshOptions

        name, *way = (given.pop(key) for key in _WAY_THERE)
        command(remote_board(name, SshOptions(*way)), **given)

    return parsed_as(called, [target.replace(default=inspect.Parameter.empty), *options, *way_there])


@on_board
def deploy(
    board: BoardEntry,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what was found and what would be done.")] = False,
    wheelhouse: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take the wheels from here, not from the package index.")
    ] = None,
    runtime: Runtime = "",
    system: Annotated[bool, typer.Option("--system", help="A unit of the system's systemd, through sudo.")] = False,
    direct: _Direct = None,
    direct_port: _DirectPort = None,
    json: Json = False,
) -> None:
    """Install the agent on a board over SSH. The board needs Python and sshd, and no internet."""
    from liteback.deployment import deploy as run

    with progress() as bar:
        deployed = run(
            board,
            runtime=runtime,
            wheelhouse=wheelhouse,
            system=system,
            direct=direct,
            direct_port=direct_port,
            dry_run=dry_run,
            progress=bar,
        )
    if json:
        emit_json(deployed.to_json())
    else:
        tables.deployed(out, deployed)
    for note in deployed.deployment.plan.notes:
        err.say(Text("note:", "yellow"), note)
