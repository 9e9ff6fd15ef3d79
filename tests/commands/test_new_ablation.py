"""`alexnet new-ablation`: its file is an ablation that works at once."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from alexnet.commands.main import main
from alexnet.config.compose import CONF, VERSION_BASE, register
from alexnet.config.job import check_composed


def test_the_template_is_a_sound_ablation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["new-ablation", "half_dropout", "--folder", str(tmp_path)])
    assert "+ablation=none,half_dropout" in capsys.readouterr().out
    register()
    with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        found = [f"hydra.searchpath=[file://{tmp_path}]", "+ablation=half_dropout"]
        config = compose("config", found, return_hydra_config=True)
        job = check_composed(config, config.hydra)
    assert job.changes == {"dropout.probability": (0.5, 0.25)}
    assert job.config.ablations["half_dropout"].paper.relation == "worse"


@pytest.mark.parametrize(("name", "told"), [("no_lrn", "choose another"), ("my-idea", "letters"), ("mine", "exists")])
def test_a_name_that_cannot_be_is_refused(
    name: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["new-ablation", "mine", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit, match="1"):
        main(["new-ablation", name, "--folder", str(tmp_path)])
    assert told in capsys.readouterr().err
