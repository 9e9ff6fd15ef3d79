"""Functions that numba compiles and keeps for the next process, where there is a place to keep them."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from alexnet.errors import UserError, first_line

try:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Environment variable 'NUMBA_", RuntimeWarning)
        from numba import njit
except (RuntimeWarning, ValueError) as error:
    what = first_line(error).rstrip(".")
    raise UserError(
        f"numba cannot start: {what}; correct the variables NUMBA_... of the shell, or unset them"
    ) from None

Function = TypeVar("Function", bound=Callable[..., Any])
NOWHERE = "compiled code cannot be kept here, so each process compiles again: set NUMBA_CACHE_DIR to a writable folder"


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Compile a function at its first call, without the GIL; a process without HOME may have no place for the code."""

    def decorate(function: Function) -> Function:
        try:
            made: Function = njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # numba found no writable folder
            warnings.warn(NOWHERE, stacklevel=2)
            made = njit(nogil=True, **options)(function)
        return made

    return decorate
