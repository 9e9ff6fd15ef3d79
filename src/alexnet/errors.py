"""The one exception that users see: what is wrong, where, and what to do, in one line."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

INTERRUPTED = 130
"""Exit code of a process that Ctrl-C stopped (128 + 2)."""


class UserError(Exception):
    """A mistake in a command, a configuration or a data set; shown as one line, without a traceback.

    Raised for anything that the user can mend. Internal invariants are `assert`s and keep their traceback.
    """


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show a user's mistake as one line on stderr and exit with 1; Ctrl-C exits with 130."""
    try:
        yield
    except UserError as error:
        exit_with(error)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def exit_with(error: UserError) -> NoReturn:
    """End the process with the error's line."""
    print(f"error: {error}", file=sys.stderr)
    sys.exit(1)
