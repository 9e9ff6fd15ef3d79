"""Fine-tuning: which weights a run starts from, what its result says of them, and what is refused."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alexnet.errors import UserError
from alexnet.net.alexnet import AlexNet
from alexnet.runs.result import read_result
from alexnet.trained.network import load_trained
from alexnet.trained.weights import weights_digest
from alexnet.training.fit import preflight
from tests.training.conftest import MakeJob, checkpoint, execute

LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
FROZEN = f"+optimizer.lr_multipliers={{{','.join(f'{layer}:0' for layer in LAYERS)}}}"
NEW_FC8 = ("pretrained.reinit=[fc8]", "schedule.epochs=1", "schedule.milestones=[]", "seed=5")


@pytest.fixture
def source(plain: Path) -> Path:
    """A finished run to start from. Not to be changed."""
    return plain


def net_weights(directory: Path) -> dict[str, torch.Tensor]:
    tensors = checkpoint(directory)["state_dict"]
    return {name.removeprefix("net."): value for name, value in tensors.items() if name.startswith("net.")}


def test_layers_start_from_the_other_run_and_fresh_ones_from_the_seed(
    source: Path, tiny: MakeJob, tmp_path: Path
) -> None:
    job = tiny(f"pretrained.checkpoint={source}", *NEW_FC8, FROZEN)  # no layer learns: what is saved is the start
    result, screen = execute(job, tmp_path / "run")
    given, found = net_weights(source), net_weights(tmp_path / "run")
    drawn = AlexNet(job.config, num_classes=20, seed=5).state_dict()
    assert found.keys() == given.keys()
    for name, value in found.items():
        assert torch.equal(value, drawn[name] if name.startswith("fc8") else given[name]), name
        assert not torch.equal(drawn["fc7.weight"], given["fc7.weight"])
    facts = result.pretrained
    assert facts is not None and read_result(tmp_path / "run") == result
    assert (facts.run, facts.weights) == ("finished", weights_digest(str(source)))
    assert facts.data_fingerprint == read_result(source).data.fingerprint
    assert (facts.taken, facts.fresh, facts.left_behind) == (tuple(LAYERS[:-1]), ("fc8",), ())
    assert "from finished: takes conv1 conv2 conv3 conv4 conv5 fc6 fc7, draws fc8\n" in screen


def test_layers_learn_at_their_own_rates(source: Path, tiny: MakeJob, tmp_path: Path) -> None:
    directory = tmp_path / "run"
    rates = "+optimizer.lr_multipliers={conv1:0,fc8:3}"
    execute(tiny(f"pretrained.checkpoint={source}", *NEW_FC8, rates), directory)
    given, found = net_weights(source), net_weights(directory)
    still = {name for name, value in found.items() if torch.equal(value, given[name])}
    assert still == {"conv1.weight", "conv1.bias"}
    saved = checkpoint(directory)["optimizer_states"][0]["param_groups"]
    assert sorted({group["lr"] for group in saved}) == pytest.approx([0, 0.01, 0.03])
    assert (directory / "metrics.csv").read_text().splitlines()[1].split(",")[2] == "0.01"  # conv1's group comes first


def test_a_layer_of_the_source_that_the_net_lacks_is_left_behind(tiny: MakeJob, tmp_path: Path) -> None:
    few = ("schedule.epochs=1", "schedule.milestones=[]")
    execute(tiny("classifier.bottleneck=true", *few), tmp_path / "wide")
    job = tiny(f"pretrained.checkpoint={tmp_path / 'wide'}", *NEW_FC8)
    facts = execute(job, tmp_path / "run")[0].pretrained
    assert facts is not None and facts.left_behind == ("bottleneck",)


def test_the_digest_is_of_names_shapes_and_values(source: Path) -> None:
    digest = hashlib.sha256()
    for name, value in sorted(net_weights(source).items()):
        array = np.ascontiguousarray(value.numpy())
        digest.update(f"{name} {array.shape} torch.{array.dtype}\n".encode() + array.astype("<f4").tobytes())
    assert weights_digest(str(source)) == digest.hexdigest()


def test_a_run_is_named_after_the_weights_and_not_after_their_path(source: Path, tiny: MakeJob, tmp_path: Path) -> None:
    def identity(path: Path, *overrides: str) -> tuple[str, str]:
        job = tiny(f"pretrained.checkpoint={path}", *NEW_FC8, *overrides)
        return job.name, job.pairing_key

    first = identity(source)
    file = source / "checkpoints" / "last.ckpt"
    assert identity(file) == first
    moved = tmp_path / "elsewhere.ckpt"
    shutil.copy(file, moved)
    assert identity(moved) == first
    saved = torch.load(moved, weights_only=True)
    saved["optimizer_states"], saved["epoch"] = [], 99
    torch.save(saved, moved)
    assert identity(moved) == first
    saved["state_dict"]["net.conv1.bias"][0] += 1e-6
    torch.save(saved, moved)
    other = identity(moved)
    drawn = tiny("seed=5", "schedule.epochs=1", "schedule.milestones=[]")
    assert len({first[0], other[0], drawn.name}) == 3
    assert len({first[1], other[1], drawn.pairing_key}) == 3


REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "no weights": (("pretrained.checkpoint=null",), r"reinit=\[fc8\] has no effect: .* without pretrained.checkpoint"),
    "another size": (
        ("scale.fc_width=48",),
        r"fc6.weight is 48 x 72 here and 32 x 72 in finished; .*'pretrained.reinit=\[fc8,fc6\]'",
    ),
    "a layer more": (("depth=six",), r"finished has no layer conv6; .*'pretrained.reinit=\[fc8,conv6\]'"),
    "misspelt": (("pretrained.reinit=[fc88]",), r"pretrained.reinit: there is no layer fc88: did you mean fc8\?"),
    "misspelt rate": (
        ("+optimizer.lr_multipliers={fc66:0.1}",),
        r"optimizer.lr_multipliers: there is no layer fc66: did you mean fc6\?",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_is_written(source: Path, tiny: MakeJob, case: str) -> None:
    overrides, message = REFUSED[case]
    with pytest.raises(UserError, match=message) as caught:
        preflight(tiny(f"pretrained.checkpoint={source}", *NEW_FC8, *overrides))
    assert "\n" not in str(caught.value)


def test_a_run_that_has_not_finished_is_no_start_unless_its_file_is_named(
    source: Path, tiny: MakeJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(source, tmp_path / "begun")
    aborted = replace(read_result(source), status="interrupted", message="interrupted by Ctrl-C", errors={})
    aborted.write(run)
    file = run / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=rf"begun has not finished \(interrupted\): .*{file}$"):
        preflight(tiny(f"pretrained.checkpoint={run}", *NEW_FC8))
    preflight(tiny(f"pretrained.checkpoint={file}", *NEW_FC8))
    load_trained(source)
    assert not capsys.readouterr().err
    load_trained(file)  # as commands do, which look for it in the folder
    assert capsys.readouterr().err == "note: begun has not finished (interrupted): this is its net in training\n"


@pytest.mark.parametrize("name", ["nowhere", "folder", "file"])
def test_no_weights_are_no_traceback(tiny: MakeJob, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match=name):
        tiny(f"pretrained.checkpoint={tmp_path / name}")


def test_a_layer_is_drawn_once(tiny: MakeJob) -> None:
    with pytest.raises(UserError, match="names a layer twice"):
        tiny("pretrained.reinit=[fc8,fc8]")
