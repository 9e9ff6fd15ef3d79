"""Two processes never work in one run directory."""

import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.errors import UserError
from alexnet.files import exclusive
from tests.training.conftest import MakeJob, execute

HOLD = """
import sys, time
from pathlib import Path
from alexnet.files import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_the_second_is_told_who_the_first_is_until_that_one_dies(tmp_path: Path, tiny: MakeJob) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"in use by process {holder.pid} on "), exclusive(tmp_path):
        pytest.fail("two at once")
    with pytest.raises(UserError, match="in use"):
        execute(tiny("restart=true"), tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]
    holder.kill()
    holder.communicate()
    with exclusive(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_it_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with exclusive(tmp_path), pytest.raises(UserError), exclusive(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
