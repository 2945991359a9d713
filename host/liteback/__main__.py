"""`python -m liteback`, and the command `liteback`."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """The console command. Ctrl-C is answered as quietly while it is still importing as it is later on."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without × shows a question mark
    try:
        from .cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
