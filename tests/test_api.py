"""The names of `import alexnet`."""

import subprocess
import sys
from pathlib import Path

import pytest

import alexnet
from alexnet.errors import UserError
from tests.study.made_up import predictions, result, save
from tests.training.conftest import FEW, NARROW

NOTEBOOK = Path(__file__).parents[1] / "docs" / "ablation.ipynb"


LIGHT = """
import sys, alexnet
assert not {"torch", "numpy", "hydra", "scipy"} & set(sys.modules)
assert all(callable(getattr(alexnet, name)) for name in ("load_run", "load_runs"))
import alexnet.study.report.report, alexnet.study.paper.tables, alexnet.study.paper.figure1
assert not {"torch", "lightning", "hydra", "numba", "wandb", "matplotlib", "jinja2"} & set(sys.modules)
from alexnet.commands.main import main
main(["describe", "columns=two"])
assert not {"torch", "lightning"} & set(sys.modules)
"""


def test_every_name_is_there_and_what_needs_no_framework_imports_none() -> None:
    """A report draws only when it must."""
    subprocess.run([sys.executable, "-c", LIGHT], check=True, stdout=subprocess.DEVNULL)
    assert all(callable(getattr(alexnet, name)) for name in alexnet._EXPORTS)
    with pytest.raises(AttributeError, match="no attribute 'trainn'"):
        _ = alexnet.trainn


def test_runs_and_their_comparison_are_rows_and_a_table(tmp_path: Path) -> None:
    for seed in range(3):
        save(tmp_path, result(seed=seed), predictions(300 - seed, 100))
        save(tmp_path, result("no_lrn", seed), predictions(320, 110, first=seed))
    found = alexnet.load_runs(tmp_path)
    assert {row["top1_error"] for run in found.runs if run.is_baseline for row in run.rows()} == {
        30.0,
        29.9,
        100 * 0.298,
    }
    comparison = alexnet.compare(str(tmp_path))
    assert [row["ablation"] for row in comparison.rows()] == ["baseline", "no_lrn"]
    assert str(comparison) == str(alexnet.compare(*found.runs))
    page = comparison._repr_html_()
    assert page.count("<pre>") == 1 and "no_lrn" in page and "as claimed" in page and "<script" not in page
    with pytest.raises(UserError, match="not a folder"):
        alexnet.compare(tmp_path / "none")
    with pytest.raises(UserError, match="no runs"):
        alexnet.compare()


@pytest.mark.slow  # 10 s
def test_training_from_python_is_the_command_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = alexnet.train(*NARROW, *FEW, "seed=3")
    assert run.finished and run.result.seed == 3 and len(run.epochs()) == 2
    assert alexnet.train(*NARROW, *FEW, "seed=3").written == run.written
    assert alexnet.load_trained(run.directory).name == run.directory.name
    with pytest.raises(UserError, match="did you mean no_lrn"):
        alexnet.train("+ablation=no_lrnn")


@pytest.mark.slow  # 40 s
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbformat, client = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("no_lrn" in output.get("data", {}).get("text/html", "") for output in shown)
    assert not any(output.output_type == "error" for output in shown)
