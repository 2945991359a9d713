"""`~/.ssh/config` as OpenSSH reads it: by asking `ssh -G`. Where there is no ssh, by paramiko's parser, which misreads
`Match` and ignores `Include`.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from liteback_deploy import ssh
from liteback_deploy.endpoint import METHODS, Endpoint, SshOptions
from liteback_deploy.errors import BadRequest
from liteback_deploy.known_hosts import known_as
from liteback_deploy.target import Target, parse_target

_RESOLVE_SECONDS = 30.0  # a `Match exec` of the user's may take its time
_CONNECT_SECONDS = 30.0  # with a tenth of the packets lost, several tries of TCP

# Settings that switch a method off; the last is the older name of the one before.
_SWITCHES = {
    "pubkeyauthentication": "publickey",
    "passwordauthentication": "password",
    "kbdinteractiveauthentication": "keyboard-interactive",
    "challengeresponseauthentication": "keyboard-interactive",
}

Settings = Mapping[str, Sequence[str]]  # keyword in lower case -> the values of each line


NO_OPTIONS = SshOptions()


def resolve(target: Target, options: SshOptions = NO_OPTIONS, within: tuple[str, ...] = ()) -> Endpoint:
    """The endpoint of a target, its jump hosts resolved too.

    within: the ProxyJump values that led here; one of them again (`Host *` is about the jump host too) is ignored.

    Raises:
        BadRequest: the configuration or an option of it is malformed.
    """
    if options.port is not None and target.port is not None and options.port != target.port:
        raise BadRequest(f"A port is given once. Received: {target} and -p {options.port}.")
    settings = _ask_openssh(target, options) if shutil.which("ssh") else _ask_paramiko(target, options)
    return endpoint(target, settings, options, within)


def endpoint(
    target: Target, settings: Settings, options: SshOptions = NO_OPTIONS, within: tuple[str, ...] = ()
) -> Endpoint:
    """What the settings of `ssh -G` say of a target."""
    host = _one(settings, "hostname", target.host)
    port = int(_one(settings, "port", "22"))
    user = _one(settings, "user", getpass.getuser())
    tokens = {"h": host, "p": str(port), "r": user, "n": target.host, "u": getpass.getuser(), "d": str(Path.home())}
    alias = _one(settings, "hostkeyalias")
    identities = [_expand(value, tokens) for value in settings.get("identityfile", ()) if value.lower() != "none"]
    files = [name for key in ("userknownhostsfile", "globalknownhostsfile") for name in _words(settings, key)]
    jump = _one(settings, "proxyjump") if _one(settings, "proxyjump") not in within else ""
    timeout = _one(settings, "connecttimeout")
    return Endpoint(
        host=host,
        port=port,
        user=user,
        known_as=alias or known_as(host, port),
        known_hosts=tuple(_expand(name, tokens) for name in files if name.lower() != "none"),
        identities=tuple(dict.fromkeys(identities)),
        identities_only=_one(settings, "identitiesonly") == "yes",
        agent=_agent(_one(settings, "identityagent", "SSH_AUTH_SOCK"), tokens),
        jumps=tuple(_jumps(jump, options, within)) if jump else (),
        proxy_command="" if jump else _replace(_one(settings, "proxycommand"), tokens),
        connect_seconds=float(timeout) if timeout.isdigit() and int(timeout) else _CONNECT_SECONDS,
        batch=_one(settings, "batchmode") == "yes",
        methods=_methods(settings),
    )


def parse(text: str) -> dict[str, list[str]]:
    """The output of `ssh -G`: a keyword and its value on each line."""
    settings: dict[str, list[str]] = {}
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        settings.setdefault(keyword.lower(), []).append(value)
    return settings


def _ask_openssh(target: Target, options: SshOptions) -> Settings:
    login = ["-l", target.user] if target.user else []
    port = ["-p", str(target.port)] if target.port else []
    command = ["ssh", "-G", *options.arguments(), *login, *port, "--", target.host]
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_RESOLVE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BadRequest(
            f"ssh must read its configuration within {_RESOLVE_SECONDS:.0f} s, and does not: does a `Match exec` in it "
            f"hang? (asked: {shlex.join(command)})"
        ) from error
    if result.returncode:
        raise BadRequest(f"ssh refuses its configuration: {result.stderr.strip()} (asked: {shlex.join(command)})")
    return parse(result.stdout)


def _ask_paramiko(target: Target, options: SshOptions) -> Settings:
    found = ssh.parsed_config(options.config or Path.home() / ".ssh" / "config", target.host)
    standard = {
        "identityfile": [f"~/.ssh/{name}" for name in ("id_rsa", "id_ecdsa", "id_ed25519")],
        "userknownhostsfile": ["~/.ssh/known_hosts ~/.ssh/known_hosts2"],
        "globalknownhostsfile": ["/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"],
    }
    given = {
        "port": options.port or target.port,
        "user": target.user,
        "proxyjump": options.jump,
    }
    identity = {"identityfile": [str(options.identity)]} if options.identity else {}
    return {**standard, **found, **{k: [str(v)] for k, v in given.items() if v is not None}, **identity}


def _jumps(text: str, options: SshOptions, within: tuple[str, ...]) -> list[Endpoint]:
    """`user@host:port,...`: each resolved with the same configuration file, and none of the other options."""
    hops: list[Endpoint] = []
    for hop in text.removeprefix("ssh://").split(","):
        try:
            target = parse_target(hop.removeprefix("ssh://"))
        except ValueError as error:
            raise BadRequest(f"-J and ProxyJump take user@host:port, one or several. {error}") from error
        resolved = resolve(target, SshOptions(config=options.config), (*within, text))
        hops += [*(resolved.jumps if not hops else ()), resolved]
    return hops


def _one(settings: Settings, key: str, default: str = "") -> str:
    values = settings.get(key) or [default]
    return default if values[0].lower() == "none" and key != "identityagent" else values[0]


def _methods(settings: Settings) -> tuple[str, ...]:
    off = {method for key, method in _SWITCHES.items() if _one(settings, key) in ("no", "false")}  # `ssh -G`: false
    preferred = settings.get("preferredauthentications", [",".join(METHODS)])[0].split(",")
    return tuple(method for method in dict.fromkeys(preferred) if method in METHODS and method not in off)


def _words(settings: Settings, key: str) -> list[str]:
    return [word for value in settings.get(key, ()) for word in value.split()]


def _replace(text: str, tokens: Mapping[str, str]) -> str:
    """The %-tokens of ssh_config(5) that a path or a command may have."""
    pieces = text.split("%%")
    for token, value in tokens.items():
        pieces = [piece.replace(f"%{token}", value) for piece in pieces]
    return "%".join(pieces)


def _expand(path: str, tokens: Mapping[str, str]) -> Path:
    return Path(os.path.expandvars(_replace(path.strip('"'), tokens))).expanduser()


def _agent(value: str, tokens: Mapping[str, str]) -> str:
    """IdentityAgent: `none`, `SSH_AUTH_SOCK`, `$VARIABLE` or a path."""
    if value.lower() == "none":
        return ""
    if value == "SSH_AUTH_SOCK":
        return os.environ.get(value, "")
    return str(_expand(value, tokens))
