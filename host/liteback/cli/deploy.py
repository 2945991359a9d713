"""The command that puts the agent on a board: deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import tables
from .shared import Json, Runtime, emit_json, err, out, progress

if TYPE_CHECKING:
    from liteback_deploy.endpoint import SshOptions

BoardTarget = Annotated[
    str, typer.Argument(metavar="TARGET", help="user@host[:port], an SSH alias, or a board of the boards file.")
]
Port = Annotated[int | None, typer.Option("-p", "--port", help="As ssh's -p.", min=1, max=65535)]
Identity = Annotated[Path | None, typer.Option("-i", "--identity", metavar="FILE", help="As ssh's -i.")]
Jump = Annotated[str | None, typer.Option("-J", "--jump", metavar="HOST", help="As ssh's -J.")]
Config = Annotated[Path | None, typer.Option("-F", "--ssh-config", metavar="FILE", help="As ssh's -F.")]


def deploy(
    target: BoardTarget,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what was found and what would be done.")] = False,
    wheelhouse: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Take the wheels from here, not from the package index.")
    ] = None,
    runtime: Runtime = "",
    system: Annotated[bool, typer.Option("--system", help="A unit of the system's systemd, through sudo.")] = False,
    port: Port = None,
    identity: Identity = None,
    jump: Jump = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Install the agent on a board over SSH. The board needs Python and sshd, and no internet."""
    from ..deployment import deploy as run

    with progress() as bar:
        deployed = run(
            target,
            ssh_options(port, identity, jump, config),
            runtime=runtime,
            wheelhouse=wheelhouse,
            system=system,
            dry_run=dry_run,
            progress=bar,
        )
    if json:
        emit_json(deployed.to_json())
    else:
        tables.deployed(out, deployed)
    for note in deployed.deployment.plan.notes:
        err.print(f"[yellow]note:[/] {note}", highlight=False, soft_wrap=True)


def ssh_options(port: int | None, identity: Path | None, jump: str | None, config: Path | None) -> SshOptions:
    from liteback_deploy.endpoint import SshOptions

    return SshOptions(port, identity, jump, config)
