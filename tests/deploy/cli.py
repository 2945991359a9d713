"""The command line with a boards file of its own, as a user with boards has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from board.box import Box
from board.host import cache


class Cli:
    """Runs `liteback` in processes. The boards file is in `config`; bundles stay in the tests' cache."""

    def __init__(self, config: Path) -> None:
        self.config = config
        self.boards = config / "liteback" / "boards.toml"
        self.boards.parent.mkdir(parents=True)
        self.environment = {
            "XDG_CONFIG_HOME": str(config),
            "XDG_CACHE_HOME": str(cache() / "xdg"),
            "XDG_DATA_HOME": str(config / "data"),
        }

    def knows(self, **boxes: Box) -> Cli:
        """Write a boards file with these boxes, and a group `lab` of them all."""
        entries = [f'[boards.{name}]\ntarget = "box"\nssh_config = "{box.ssh_config}"\n' for name, box in boxes.items()]
        self.boards.write_text("".join(entries) + f"[groups]\nlab = {json.dumps(list(boxes))}\n")
        return self

    def __call__(self, *arguments: Any, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, env=self.env(), timeout=timeout, check=False
        )

    def document(self, *arguments: Any, timeout: float = 300) -> dict[str, Any]:
        """The JSON of a command that ends well; stdout holds nothing else."""
        result = self(*arguments, "--json", timeout=timeout)
        assert result.returncode == 0, result.stderr
        loaded: dict[str, Any] = json.loads(result.stdout)
        return loaded

    def command(self, *arguments: Any) -> list[str]:
        return [sys.executable, "-m", "liteback", *map(str, arguments)]

    def env(self) -> dict[str, str]:
        return {**os.environ, **self.environment}
