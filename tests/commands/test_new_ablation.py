"""`alexnet new-ablation`: its file is an ablation that works at once."""

from pathlib import Path

import pytest

from alexnet.commands.main import main
from alexnet.config.compose import searched
from alexnet.config.job import check
from alexnet.errors import UserError


def test_the_template_is_a_sound_ablation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new-ablation", "half_dropout", "--folder", str(tmp_path)])
    assert "+ablation=none,half_dropout" in capsys.readouterr().out
    job = check([*searched(tmp_path), "+ablation=half_dropout"])
    assert job.changes == {"dropout.probability": (0.5, 0.25)}
    assert job.config.ablations["half_dropout"].paper.relation == "worse"
    (tmp_path / "ablation" / "half_dropout.yaml").rename(tmp_path / "ablation" / "baseline.yaml")
    with pytest.raises(UserError, match="ablation=baseline: other runs are called baseline; rename its file"):
        check([*searched(tmp_path), "+ablation=baseline"])


@pytest.mark.parametrize(
    ("name", "told"),
    [*((name, "choose another") for name in ("no_lrn", "baseline", "null")), ("a-b", "letters"), ("mine", "exists")],
)
def test_a_name_that_cannot_be_is_refused(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["new-ablation", "mine", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="1"):
        main(["new-ablation", name, "--folder", str(tmp_path)])
    assert told in capsys.readouterr().err


def test_a_folder_that_cannot_be_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="1"):
        main(["new-ablation", "mine", "--folder", str(tmp_path / "file")])
    assert "mine.yaml: cannot be written: a file is where its folder should be" in capsys.readouterr().err
