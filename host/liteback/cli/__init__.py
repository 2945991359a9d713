"""The command line: `liteback COMMAND`. Each command's module imports what it needs when it runs."""
