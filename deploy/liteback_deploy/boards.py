"""The boards file: names, groups and defaults of the boards that a user has.

    [defaults]                        # of every board below; a board's own come before them
    threads = 4

    [boards.kitchen]
    target = "pi@192.168.1.7:2222"    # or an SSH alias; beside it: port, identity, jump, ssh_config
    kernels = "builtin"               # runtime, kernels, delegate, threads: what commands use unless told otherwise
    direct = true                     # so, too: deploy sets direct connections up, the others make them

    [boards.coral]
    target = "mendel@coral"
    delegate = "libedgetpu.so.1"

    [groups]
    lab = ["kitchen", "coral"]        # --target @lab; @all is every board

It is `boards.toml` in the user's configuration folder.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from liteback_deploy.endpoint import SshOptions
from liteback_deploy.errors import BadRequest
from liteback_deploy.target import Target, parse_target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SSH = {"port": int, "identity": str, "jump": str, "ssh_config": str}
_RUN = {"runtime": str, "kernels": str, "delegate": str, "threads": int, "direct": bool}
_EVERY = "all"


@dataclass(frozen=True)
class BoardEntry:
    """A board by the name it has on the command line. run: its own defaults of capture, prove and roundtrip."""

    name: str
    target: Target
    ssh: SshOptions = field(default_factory=SshOptions)
    run: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Boards:
    """The boards file, read."""

    path: Path
    boards: Mapping[str, BoardEntry] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def find(self, text: str) -> tuple[BoardEntry, ...]:
        """What a `--target` means: the boards of `@group`, a board of the file, or what `parse_target` takes.

        Raises:
            BadRequest: there is no such group, or the text is malformed.
        """
        if text.startswith("@"):
            names = tuple(self.boards) if text[1:] == _EVERY else self.groups.get(text[1:], ())
            if not self.boards:
                raise BadRequest(
                    f"The boards of {text!r} are those of {self.path}, which names none: see docs/boards.md."
                )
            if not names:
                known = ", ".join(f"@{name}" for name in (*self.groups, _EVERY))
                raise BadRequest(f"A group is one of {self.path}, with boards in it: {known}. Received: {text!r}.")
            return tuple(self.boards[name] for name in names)
        if text in self.boards:
            return (self.boards[text],)
        try:
            return (BoardEntry(text, parse_target(text)),)
        except ValueError as error:
            raise BadRequest(str(error)) from error

    def one(self, text: str) -> BoardEntry:
        """As `find`, for what takes a single board.

        Raises:
            BadRequest: it is a group of several.
        """
        found = self.find(text)
        if len(found) > 1:
            raise BadRequest(f"One board at a time. Received: {text!r}, which is {', '.join(b.name for b in found)}.")
        return found[0]


def default_path() -> Path:
    return platformdirs.user_config_path("liteback") / "boards.toml"


def read(path: Path | None = None) -> Boards:
    """The user's boards; none where there is no file.

    Raises:
        BadRequest: the file breaks a rule; the message says which, and where.
    """
    path = path or default_path()
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Boards(path)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"The boards file {path} cannot be read: {error}.") from error
    _known(path, "the file", values, {"defaults": dict, "boards": dict, "groups": dict})
    defaults = values.get("defaults", {})
    _known(path, "[defaults]", defaults, _RUN)
    boards = {name: _board(path, name, entry, defaults) for name, entry in values.get("boards", {}).items()}
    groups = {name: _group(path, name, members, boards) for name, members in values.get("groups", {}).items()}
    return Boards(path, boards, groups)


def _board(path: Path, name: str, entry: Any, defaults: Mapping[str, Any]) -> BoardEntry:
    where = f"[boards.{name}]"
    if not isinstance(entry, dict) or "target" not in entry:
        raise BadRequest(f"{path}: {where} must have a `target`, such as pi@raspberrypi. Received: {entry!r}.")
    _known(path, where, entry, {"target": str, **_SSH, **_RUN})
    try:
        target = parse_target(entry["target"])
    except ValueError as error:
        raise BadRequest(f"{path}: {where}: {error}") from error
    identity, config = (Path(entry[k]).expanduser() if k in entry else None for k in ("identity", "ssh_config"))
    ssh = SshOptions(entry.get("port"), identity, entry.get("jump"), config)
    return BoardEntry(name, target, ssh, {k: v for k, v in {**defaults, **entry}.items() if k in _RUN})


def _group(path: Path, name: str, members: Any, boards: Mapping[str, BoardEntry]) -> tuple[str, ...]:
    unknown = [m for m in members if m not in boards] if isinstance(members, list) else [members]
    if unknown or not members:
        raise BadRequest(
            f"{path}: group {name} must list boards of the file. Received: {', '.join(map(repr, unknown))}."
        )
    return tuple(dict.fromkeys(members))


def _known(path: Path, where: str, values: Mapping[str, Any], types: Mapping[str, type]) -> None:
    """Raises: BadRequest for a key that is not one of `types`, or has a value of another type."""
    for key, value in values.items():
        if key not in types:
            raise BadRequest(f"{path}: {where} may have {', '.join(types)}. Received: {key!r}.")
        if not isinstance(value, types[key]):
            raise BadRequest(f"{path}: {key} in {where} is a {types[key].__name__}. Received: {value!r}.")
