"""The package as it is installed elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.training.conftest import FEW, NARROW

ROOT = Path(__file__).parents[1]
COMMAND = "import alexnet; assert alexnet.__file__.startswith({site!r}); from alexnet.commands.main import main; main()"


@pytest.mark.slow  # 40 s
def test_the_wheel_is_small_and_trains_and_reports_outside_of_the_checkout(tmp_path: Path) -> None:
    subprocess.run(["uv", "build", "--wheel", "--quiet", "--out-dir", tmp_path / "dist", ROOT], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert wheel.stat().st_size < 1_000_000
    site = tmp_path / "site"
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {"alexnet/conf/config.yaml", "alexnet/ablations/no_lrn.yaml"} < set(names)
    assert not [name for name in names if name.endswith((".npz", "result.json"))]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    for arguments in (
        ["train", *NARROW, *FEW],
        ["train", *NARROW, *FEW, "+ablation=no_lrn"],
        ["report", "runs"],
    ):
        command = [sys.executable, "-c", COMMAND.format(site=str(site)), *arguments]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    results = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("*/result.json")]
    assert {(one["ablation"], one["status"], one["git"]) for one in results} == {
        ("baseline", "finished", None),
        ("no_lrn", "finished", None),
    }
    assert "no_lrn" in (tmp_path / "runs" / "comparison.csv").read_text()
