"""Every command of README and docs, run with the smallest sizes: minutes."""

import os
import re
import shlex
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob
from PIL import Image

from tests.data.samples import class_folders
from tests.test_documents import commands, train_commands
from tests.training.conftest import FEW, NARROW

pytestmark = pytest.mark.slow

PROGRAMS = Path(sys.executable).parent
ELSEWHERE = {
    "nvjpeg": "needs an NVIDIA GPU",
    "slurm": "needs Slurm",
    "pretrained": "needs runs of other data: tests/training/test_pretrained.py",
    "batch_norm": "needs a patch: tests/test_documents.py",
    "my_idea": "files of two columns: tests/test_launch.py",
    "study.plan": "tests/test_launch.py",
    "fall": "15 million images and a classifier of thousands of classes: tests/config/test_studies.py",
    "figure1:": "needs curves of Figure 1: tests/study/paper/test_figure1.py",
    "workspace:": "needs W&B's server: tests/study/report/test_wandb_workspace.py",
    "owt": "needs weights of torchvision's: tests/trained/test_torchvision_weights.py",
    "reduce-overhead": "minutes of compiling: tests/training/test_hardware.py",
    "hardware.compile=true": "minutes of compiling: tests/training/test_hardware.py",
}
SMALLEST = {
    word.partition("=")[0]: word for word in (*NARROW, "schedule=epochs_20", *FEW, "data=shapes", "hardware.threads=1")
}
PLACES = {
    r"(runs/)?(RUN|\w+_RUN)": "runs/RUN",
    r"(/?packs/[\w.]+|PACK)": "pack",
    r"imagenetv2.*": "images/train",
    r"/data/\w+|\w+\.tar(\.gz)?": "images",
    r"cat\.jpg|photo\.jpg": "cat.png",
    r"photos/\*\.png": "cat.png",
    r"results/.*": "runs",
    r"search": "runs",
}
"""What the pages name, and what takes its place here."""


def elsewhere(words: tuple[str, ...]) -> str | None:
    """Why a command is not run here; None if it is."""
    named = (f"{words[1]}:" if words[:1] == ("alexnet",) else "", *words)
    return next((reason for part, reason in ELSEWHERE.items() if any(part in word for word in named)), None)


def smallest(arguments: tuple[str, ...]) -> list[str]:
    """The same training command on a few drawn images; a sweep has at most two ablations and one of all else."""
    study = any(word.startswith("experiment=study") for word in arguments)
    options, words = [], ["seed=0", "+ablation=none,no_lrn"] if study else []
    for n, word in enumerate(arguments):
        if word.startswith("-") or arguments[n - 1] in ("--config-dir", "--cfg"):
            options.append(word)
            continue
        (parsed,) = OverridesParser.create().parse_overrides([word])
        key = parsed.get_key_element()
        if key.startswith(("data", "schedule", "hydra.sweeper.n_")) or word.startswith("runs=/"):
            continue
        if study and key in ("seed", "+ablation"):
            continue
        if parsed.is_sweep_override() and "hydra/sweeper=optuna" not in arguments:
            globbed = isinstance(parsed.value(), Glob) or "glob(" in word
            several = ["none", "no_lrn"] if globbed else [*islice(parsed.sweep_string_iterator(), 1 + ("abl" in key))]
            word = f"{key}={','.join(several)}"
        words.append(word)
    given = {word.partition("=")[0] for word in words}
    other_network = any(name in word for word in words for name in ("cifar10", "figure1"))
    added = [text for key, text in SMALLEST.items() if key not in given and not (other_network and "scale" in key)]
    trials = ["hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1"] if "hydra/sweeper=optuna" in words else []
    return [*options, *words, *added, *trials]


def run(command: list[str], folder: Path) -> None:
    """Run a program of this environment, which must succeed."""
    environment = os.environ | {"WANDB_MODE": "disabled", "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if "multiplies in bfloat16 on this processor" in done.stderr:
        pytest.skip("hardware.matmul=onednn is refused on processors with AMX")
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages assume: images, a pack, runs, a photograph, an own ablation."""
    folder = tmp_path_factory.mktemp("place")
    class_folders(folder / "images")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "cat.png")
    train = [str(PROGRAMS / "alexnet"), "train"]
    few = [text for key, text in SMALLEST.items() if key != "logger.wandb.mode"]
    run([*train, "-m", "+ablation=none,no_lrn", "seed=0,1,2", "data.packs=.", *few], folder)
    (folder / "pack").symlink_to(next(folder.glob("shapes-*")))
    for name, seed in {"RUN": 0, "RUN0": 0, "RUN1": 1, "RUN2": 2}.items():
        (folder / "runs" / name).symlink_to(next((folder / "runs").glob(f"demo-baseline-seed{seed}-*")))
    run([str(PROGRAMS / "alexnet"), "new-ablation", "half_dropout"], folder)
    run([str(PROGRAMS / "alexnet"), "codes", "runs/RUN", "pack", "--bits", "64"], folder)
    return folder


@pytest.mark.parametrize("words", train_commands(), ids=shlex.join)
def test_training_command_trains(words: tuple[str, ...], place: Path, tmp_path: Path) -> None:
    if reason := elsewhere(words):
        pytest.skip(reason)
    (tmp_path / "mine").symlink_to(place / "mine")
    run([str(PROGRAMS / "alexnet"), "train", *smallest(words)], tmp_path)


OTHERS = [words for words in commands() if words[:1] == ("alexnet",) and words[1:2] != ("train",)]


@pytest.mark.parametrize("words", OTHERS, ids=shlex.join)
def test_other_command_works(words: tuple[str, ...], place: Path, tmp_path: Path) -> None:
    if reason := elsewhere(words):
        pytest.skip(reason)
    for one in place.iterdir():
        if (words[1], one.name) == ("new-ablation", "mine"):
            continue  # it is to be made
        (tmp_path / one.name).symlink_to(one)
    words = tuple(str(tmp_path / "new") if words[1] == "prepare" and n == 3 else word for n, word in enumerate(words))
    for pattern, name in PLACES.items():
        words = tuple(name if re.fullmatch(pattern, word) else word for word in words)
    run([str(PROGRAMS / words[0]), *words[1:]], tmp_path)
