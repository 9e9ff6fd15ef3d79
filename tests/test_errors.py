"""What users see of an error."""

import errno
import sys

import pytest

from alexnet.errors import one_line_errors


def test_one_line_errors_full_disk_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/x/result.json")
    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "error: runs/x/result.json: No space left on device; repeat the command once that is mended\n"
    )


def test_one_line_errors_other_fault_keeps_its_traceback() -> None:
    with pytest.raises(OSError, match="invalid"), one_line_errors():
        raise OSError(errno.EINVAL, "invalid")


def test_one_line_errors_closed_output_is_no_success_and_has_no_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise BrokenPipeError
    assert caught.value.code == 141
    assert capsys.readouterr().err == ""


def test_one_line_errors_without_an_output_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with one_line_errors():
        pass
