"""What ends a command: a mistake told in one line; and the words of such lines."""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from typing import NoReturn

INTERRUPTED = 130
"""Exit code of a process that Ctrl-C stopped (128 + 2)."""
CLOSED_OUTPUT = 141
"""Exit code of a process whose reader has gone (128 + SIGPIPE): a run that this ends is not finished."""

REFUSED_BY_THE_MACHINE = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ELOOP, errno.ENOENT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM,
    errno.EROFS,
}  # fmt: skip
"""No room, no permission, no such folder."""


class UserError(Exception):
    """A mistake in a command, a configuration or a data set; shown as one line, without a traceback.

    Raised for anything that the user can mend. Internal invariants are `assert`s and keep their traceback.
    """


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show a user's mistake, or a file that the machine refuses, as one line on stderr and exit with 1.

    Ctrl-C exits with 130. Output that nobody reads any more (`| head`) needs no words, and exits with 141.
    """
    try:
        yield
        if sys.stdout is not None:  # None if the command was started without an output
            sys.stdout.flush()
    except UserError as error:
        exit_with(error)
    except BrokenPipeError:
        _discard_output()
        sys.exit(CLOSED_OUTPUT)
    except OSError as error:
        if error.errno not in REFUSED_BY_THE_MACHINE:
            raise
        _discard_output()
        place = "" if error.filename is None else f"{error.filename}: "
        exit_with(UserError(f"{place}{error.strerror}; repeat the command once that is mended"))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _discard_output() -> None:
    """Let what is still buffered go nowhere: Python would fail on it again at its end."""
    with suppress(OSError, AttributeError):  # no output, or one without a file, as in a notebook
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_with(error: UserError) -> NoReturn:
    """End the process with the error's line."""
    print(f"error: {printable(str(error))}", file=sys.stderr)
    sys.exit(1)


def printable_name(name: str) -> str:
    """Escape as `printable`, and line feeds too."""
    return printable(name).replace("\n", "\\n")


def printable(text: str) -> str:
    """Escape what a terminal would obey or cannot show: control characters, and bytes of names that are no text."""
    return "".join(mark if mark.isprintable() or mark == "\n" else ascii(mark)[1:-1] for mark in text)


def did_you_mean(word: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Return a hint to append to an error message: the closest known name, or all names if none is close.

    `prefix` goes before the closest name. Names in folders, such as `source/relu_position`, are listed by their
    folder: `source/*`.
    """
    names = sorted(set(known))
    if close := get_close_matches(word, names, n=1, cutoff=0.6):
        return f": did you mean {prefix}{close[0]}?"
    shown = dict.fromkeys(f"{folder}/*" if folder else name for name in names for folder in [name.rpartition("/")[0]])
    return f"; choose from: {', '.join(shown)}" if shown else ""


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the exception's type if it has no message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
