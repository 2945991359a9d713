"""`python -m liteback`."""

from .cli import main

main()
