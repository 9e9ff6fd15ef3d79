"""What ends a command: a mistake told in one line; and the words of such lines."""

import errno
import io
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import NoReturn, TextIO

INTERRUPTED = 130
"""Exit code of a process that Ctrl-C stopped (128 + 2)."""
CLOSED_OUTPUT = 141
"""Exit code of a command whose reader has gone (128 + SIGPIPE); training continues without one."""
START_OVER = "start over with restart=true"
"""What to do about a run that cannot be continued."""
MEND = "mend that, and repeat the command"
"""What to do about what the machine refuses."""
REFUSED_BY_THE_MACHINE = {
    errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EISDIR, errno.ELOOP, errno.EMFILE, errno.ENAMETOOLONG,
    errno.ENFILE, errno.ENOENT, errno.ENOMEM, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS, errno.ESTALE,
}  # fmt: skip
"""No room, no permission, no such folder, no more open files, a disk that fails."""
_OUT_OF_RESOURCES = re.compile(r"can't allocate memory|out of memory|can't start new thread|failed to map segment")
"""In the messages of torch's and Python's RuntimeErrors, and of libraries that are not loaded."""
_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
"""Control characters, marks that change the direction of what follows, and what no encoding has."""


class UserError(Exception):
    """A mistake in a command, a configuration or a data set; shown as one line, without a traceback.

    Raised for anything that the user can mend. Internal invariants are `assert`s and keep their traceback.
    """


class RefusedError(UserError):
    """The machine refuses to read a file, which may be sound."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Show a user's mistake, or a file that the machine refuses, as one line on stderr and exit with 1.

    A character that the terminal's encoding lacks is shown escaped. Ctrl-C exits with 130. Output that nobody reads any
    more (`| head`) needs no words, and exits with 141.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
        if sys.stdout is not None:  # None if the command was started without an output
            sys.stdout.flush()
    except UserError as error:
        exit_with(error)
    except BrokenPipeError:
        discard(sys.stdout)
        sys.exit(CLOSED_OUTPUT)
    except OSError as error:
        if error.errno not in REFUSED_BY_THE_MACHINE:
            raise
        discard(sys.stdout)
        place = "" if error.filename is None else f"{error.filename}: "
        exit_with(UserError(f"{place}{error.strerror}; repeat the command once that is mended"))
    except (MemoryError, RuntimeError, ImportError) as error:
        if not isinstance(error, MemoryError) and not _OUT_OF_RESOURCES.search(str(error)):
            raise
        what = first_line(error) if str(error) else "not enough memory"
        exit_with(UserError(f"{what}; free memory or raise the limit (ulimit), and repeat the command"))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def discard(stream: TextIO) -> None:
    """Let what is written to a stream go nowhere, and what is still buffered: Python would fail on it at its end."""
    with suppress(OSError, AttributeError):  # no output, or one without a file, as in a notebook
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def exit_with(error: UserError) -> NoReturn:
    """End the process with the error's line."""
    print_line(f"error: {error}", file=sys.stderr)
    sys.exit(1)


def print_line(text: str, *, file: TextIO | None = None) -> None:
    """Print a line that may hold a stranger's names."""
    print(printable(text), file=file)


def printable(text: str, *, lines: bool = False) -> str:
    """Show control characters and marks of direction escaped, as `\\x1b`; `lines` leaves line breaks and tabs alone."""
    kept = "\n\t" if lines else ""
    return _CONTROL.sub(lambda found: found[0] if found[0] in kept else str(ascii(found[0])[1:-1]), text)


def as_started(text: str) -> str:
    """Name the program as the user can start it: `alexnet train`, unless it was started as train.py."""
    return text if Path(sys.argv[0]).name == "train.py" else text.replace("python train.py", "alexnet train")


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


def refuse_unknown_options(words: Iterable[str], known: Collection[str]) -> None:
    """Raise a UserError at the first word that is an option, whole or shortened, and none of the known ones."""
    for word in takewhile("--".__ne__, words):
        name = word.partition("=")[0]
        short = name[:2] in known and name[1:2] != "-"  # perhaps with its value
        if re.fullmatch(r"--?[a-z][\w-]*", name) and not short and not any(one.startswith(name) for one in known):
            raise UserError(f"{name}: there is no such option{did_you_mean(name, known)}")


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the exception's type if it has no message."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def shown_time(seconds: float) -> str:
    """Return a duration in the two units that matter: `40 s`, `41 min`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def plural(count: int, singular: str, several: str | None = None) -> str:
    """Format a count: `1 run`, `2 runs`; `several` is an irregular plural."""
    return f"{count:,} {singular if count == 1 else several or f'{singular}s'}"


def how_to_install(extra: str) -> str:
    """Say how an optional part of the project is installed: the package index has another project of this name."""
    return f"in the checkout, uv sync --extra {extra}, or pip install -e '.[{extra}]'"
