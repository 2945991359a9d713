"""`python -m liteback`, and the command `liteback`."""

from __future__ import annotations

import gc
import io
import os
import sys


def main() -> None:
    """The console command. Ctrl-C is answered as quietly while it is still importing as it is later on."""
    from liteback import words  # noqa: F401  (what it says of errors="printable")

    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="printable")  # a terminal without × shows a question mark
    try:
        from liteback.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        code = 130
    gc.freeze()  # it all goes with the process: the last look through it for garbage takes TensorFlow's a second
    sys.exit(code)


def _open_streams() -> None:
    """Who starts us may have closed a stream (`>&-`): its number would then go to the first file that we open."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115  it stays open


if __name__ == "__main__":
    main()
