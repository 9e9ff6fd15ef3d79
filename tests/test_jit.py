import importlib
import sys
import warnings
from types import ModuleType

import pytest

from alexnet import jit
from alexnet.errors import UserError

WORD = "Environment variable 'NUMBA_OPT' is defined but its associated value 'x' could not be parsed.\nTraceback ..."


class Numba(ModuleType):
    """Fails as numba's import does for odd variables of the shell."""

    def __getattr__(self, name: str) -> object:
        if name != "njit":
            raise AttributeError(name)
        warnings.warn(WORD, RuntimeWarning, stacklevel=2)
        raise ValueError("Number of threads specified must be > 0.")


@pytest.mark.parametrize(("warns", "said"), [(True, "value 'x' could not be parsed; "), (False, "must be > 0; ")])
def test_odd_variables_of_numba_are_one_line(monkeypatch: pytest.MonkeyPatch, warns: bool, said: str) -> None:
    monkeypatch.setitem(sys.modules, "numba", Numba("numba"))
    if not warns:
        monkeypatch.setattr(warnings, "warn", lambda *_, **__: None)
    with pytest.raises(UserError, match=f"numba cannot start: .*{said}correct the variables NUMBA_") as caught:
        importlib.reload(jit)
    assert "\n" not in str(caught.value)
