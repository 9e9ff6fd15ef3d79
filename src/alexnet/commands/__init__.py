"""The `alexnet` command line: a module for each command or family, with `add` and `run`."""
