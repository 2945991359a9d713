"""What is done with an agent once it is installed: logs, restart, rollback, uninstall."""

from __future__ import annotations

from liteback_deploy import keys, scripts
from liteback_deploy.errors import BadRequest, Unsuitable
from liteback_deploy.facts import Facts, gather
from liteback_deploy.ssh import Connection


def installed(connection: Connection) -> Facts:
    """The facts of a board that has an agent.

    Raises:
        Unsuitable: it has none.
    """
    facts = gather(connection)
    if not facts.current:
        raise Unsuitable(f"There is no agent on {connection.endpoint}. `liteback deploy` installs one.")
    return facts


def logs(connection: Connection, lines: int) -> str:
    """The last lines of the agent's log."""
    return scripts.checked(connection, "reading the log", "logs.sh", (str(lines),))


def restart(connection: Connection) -> Facts:
    """End the agent and start it again; the facts before. Raises: Unsuitable, when it then does not serve."""
    facts = installed(connection)
    scripts.checked(connection, "restarting the agent", "restart.sh", (_service(facts),))
    return facts


def rollback(connection: Connection) -> Facts:
    """Make the version before the current one; doing it twice comes back. The facts before.

    Raises:
        BadRequest: there is no other version.
        Unsuitable: it does not serve; then the current one still does.
    """
    facts = installed(connection)
    if facts.previous not in facts.versions:
        raise BadRequest(f"A rollback needs an earlier version; {connection.endpoint} has only {facts.current}.")
    scripts.checked(connection, "rolling back", "activate.sh", (_service(facts), facts.previous))
    return facts


def uninstall(connection: Connection, purge: bool) -> Facts:
    """Remove the service, every version and the keys of direct connections, here too; with `purge` also models, token
    and logs. The facts before.

    Lingering stays as it is: other services of the user may rely on it.
    """
    facts = gather(connection)
    scripts.checked(connection, "uninstalling", "remove.sh", ("all" if purge else "agent",))
    keys.forget(connection.endpoint)
    return facts


def _service(facts: Facts) -> str:
    if not facts.service:
        raise Unsuitable("The agent's service is gone from the board. `liteback deploy` makes it anew.")
    return facts.service
