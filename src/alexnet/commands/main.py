"""The `alexnet` command: prepare images, describe networks, compare runs, look inside trained networks.

Training is `alexnet train`, or `python train.py` in a checkout.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeAlias

from alexnet import __version__
from alexnet.config.fields import BOUNDS, problem
from alexnet.config.identity import NUMERICS
from alexnet.config.values import ENCODINGS, SUBSAMPLINGS
from alexnet.errors import UserError, did_you_mean, one_line_errors, refuse_unknown_options
from alexnet.runs.directory import PROBABILITIES_FILE, weights_file
from alexnet.terminal import Terminal

COMMANDS = {
    "prepare": ("commands.prepare:prepare", "images in class folders or archives -> a pack"),
    "verify": ("commands.prepare:verify", "compare every file of a pack with its checksum"),
    "describe": (
        "commands.describe:run",
        "layer table of any configuration, at the paper's scale unless scale= or experiment= says otherwise",
    ),
    "new-ablation": ("commands.plan:new_ablation", "a file to start an idea of your own from, with its claim"),
    "plan": ("commands.plan:plan", "write the plan of a study, to be fixed before its first run"),
    "runs": ("commands.runs:run", "how far the runs in a folder are, and how to continue them"),
    "report": ("commands.report:report", "compare runs: each ablation with its baseline"),
    "checklist": ("commands.report:checklist", "the reproducibility checklist of a study, filled from its runs"),
    "workspace": ("commands.report:workspace", "save a W&B workspace and a W&B report about runs that are online"),
    "figure1": ("study.paper.figure1:figure1", "how fast networks fit their training images, drawn as Figure 1"),
    "tables": ("study.paper.tables:report_tables", "the paper's Tables 1 and 2 with our results"),
    "ensemble": ("study.paper.ensemble:report_ensemble", "errors of the average of several networks"),
    "evaluate": ("commands.evaluate:run", "errors of a trained network on a pack"),
    "predict": ("commands.predict:run", "the five most probable classes of image files"),
    "figures": ("commands.figures:run", "the paper's Figures 3 and 4 for a trained network"),
    "codes": ("commands.similar:codes", "train short binary codes of features (section 6.1)"),
    "similar": ("commands.similar:similar", "the training images nearest to an image"),
    "import": ("commands.export:import_weights", "the weights of torchvision's AlexNet as a network of this program"),
    "export": ("commands.export:export", "a trained network as .safetensors or .onnx"),
}
"""Function of each command, in this package, and its line of help."""
BITS, MOST_EPOCHS = 64, 100_000
LENGTHS: dict[str, Any] = {"ge": 8, "le": 4096, "multiple": 8}
SEEDS: dict[str, Any] = {"default": 0, "ge": 0, "lt": 2**31}
Argument: TypeAlias = Callable[..., argparse.Action]
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  typeshed has no public name


def main(arguments: list[str] | None = None) -> None:
    """Run one command. A user's mistake becomes one line and exit code 1."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] in (["train"], ["-sc"]):  # Hydra's command line, or its completion; argparse must not see them
        from alexnet.commands.train import main as train

        train(given[given[0] == "train" :])
        return
    os.environ["MPLBACKEND"] = "agg"  # no window is opened, and matplotlib refuses a backend that it lacks
    with one_line_errors():
        if given[:1] == ["--version"]:
            print(version())
            return
        made, is_command = parser(given), given[:1] and given[0] in COMMANDS
        if not given:
            made.error("name a command: alexnet --help lists them")
        if is_command:
            made.parse_known_args(given[1:])  # which names all that is missing, as the next does not
        # Options may come before or after the arguments of a command.
        options = vars(made.parse_intermixed_args(given[1:]) if is_command else made.parse_args(given))
        resolve_name(options.pop("function"))(**options)


def parser(given: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of all commands, or that of the `given` one; what it does not know is refused.

    `train` is only listed: Hydra reads its words.
    """
    made = argparse.ArgumentParser(prog="alexnet", description=__doc__)
    made.add_argument("--version", action="version", help="print version, NUMERICS and revision")
    commands = made.add_subparsers(required=True, metavar="command")
    _add_before_training(commands)
    _add_about_runs(commands)
    _add_about_networks(commands)
    commands.add_parser("train", help="train networks: alexnet train --help")
    chosen = commands.choices.get("".join(given[:1]), made)
    if chosen is made and given and not given[0].startswith("-"):
        made.error(f"{given[0]}: no such command{did_you_mean(given[0], commands.choices)}")
    refuse_unknown_options(given, re.findall(r"(?<![\w-])--?[a-z][\w-]*", chosen.format_help()))
    return chosen


def version() -> str:
    """Return the version, and the revision of the checkout that the code is in."""
    from alexnet.training.provenance import git_state

    state, _ = git_state()
    revision = "" if state is None else f", revision {state.revision or 'unknown'}{' with changes' * state.dirty}"
    return f"alexnet {__version__}, NUMERICS {NUMERICS}{revision}"


def _add(commands: Commands, name: str, *parents: argparse.ArgumentParser, **constants: Any) -> Argument:
    """Add a command, and return what adds an argument to it.

    Its function gets the arguments by their names, and the `constants`. It is imported when the command runs, so that
    help and refusals do not wait for torch.
    """
    function, summary = COMMANDS[name]
    command = commands.add_parser(name, parents=parents, help=summary, description=summary)
    command.set_defaults(function=f"alexnet.{function}", **constants)

    def argument(*names: str, choices: Sequence[str] | None = None, **options: Any) -> argparse.Action:
        if choices:
            options |= {"type": _choice(names[-1], choices), "metavar": f"{{{','.join(choices)}}}"}
        return command.add_argument(*names, **options)

    return argument


def _add_before_training(commands: Commands) -> None:
    argument = _add(commands, "prepare")
    argument("source", type=_path, help="folder of class folders, class tars or ImageNet's archives, or one archive")
    argument("pack", type=_path, help="directory to make")
    argument(
        "--split",
        action="append",
        default=[],
        metavar="SPLIT=FOLDER",
        help="which folder is train, val or test, as in val=dev; none=FOLDER leaves one out; may be repeated",
    )
    kept = "keep one image of the same pixels, a held-out one if there is one"
    argument("--drop-duplicates", action="store_true", help=kept)
    _number(argument, "--size", help="side of the square images in pixels (default 256)", default=256)
    _number(argument, "--val-fraction", float, help="held out if there is no val (default 0.1)", default=0.1)
    _number(argument, "--test-fraction", float, help="held out for testing (default 0)", default=0.0)
    _number(argument, "--seed", help="seed of the held-out choice (default 0)", **SEEDS)
    argument(
        "--encoding",
        choices=ENCODINGS,
        default="auto",
        help="raw: pixels; jpeg: a tenth of the size, decoded when used; auto: raw up to 4 GiB (default)",
    )
    _number(argument, "--quality", help="JPEG quality, 1 to 100 (default 90)", default=90)
    argument("--chroma-subsampling", choices=SUBSAMPLINGS, default="420", help="subsampling in JPEG (default 420)")
    _number(argument, "--workers", help="threads (default: one per core)", ge=1, le=10_000)
    argument("--md5", action="store_true", help="first compare archives with their published MD5 (minutes)")

    argument = _add(commands, "verify")
    argument("pack", type=Path, help="directory of the pack")

    argument = _add(commands, "describe")
    argument(
        "overrides", nargs="*", default=[], help="as for alexnet train, such as columns=one lrn=none +ablation=conv6"
    )
    argument("--config-dir", type=Path, metavar="DIR", help="folder of your own configuration")
    _number(argument, "--classes", help="number of classes (default 1000)", default=1000, ge=1, le=1_000_000)

    argument = _add(commands, "new-ablation")
    argument("name", help="of the ablation, such as half_dropout")
    argument("--folder", type=Path, default=Path("mine"), help="folder of your own configuration (default mine)")

    argument = _add(commands, "plan")
    argument("file", type=Path, help="file to write, such as plan.yaml")
    argument(
        "overrides",
        nargs="*",
        default=[],
        help="what every run shares, such as experiment=tiny_imagenet optimizer.lr=0.005",
    )
    argument("--ablations", required=True, help="to test, such as no_lrn,no_dropout,no_lrn+no_dropout")
    argument("--config-dir", type=Path, metavar="DIR", help="folder of your own configuration")
    argument("--seeds", default="5,10", help="seeds of each ablation at each look (default 5,10)")
    argument("--levels", default="0.01,0.04", help="level of each look (default 0.01,0.04)")
    _number(argument, "--baseline-seeds", help="seeds of the baseline (default 10)", default=10)
    argument("--measure", choices=("top1", "top5"), default="top1", help="primary measure (default top1)")
    _number(argument, "--margin", float, help="points that do not matter (default: each claim's)")
    argument("--rates", help="search the rate of every arm among these: 0.0025,0.005,0.01")
    argument("--search-seeds", default="1000,1001", help="seeds of the search (default 1000,1001)")
    _number(argument, "--search-epochs", help="epochs of a search run (default: the whole schedule)", le=MOST_EPOCHS)
    argument("--name", help="name of the study (default: that of the file)")


def _add_about_runs(commands: Commands) -> None:
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("paths", nargs="+", type=Path, metavar="runs", help="run directories, or folders of them")

    argument = _add(commands, "runs")
    argument("paths", nargs="*", type=Path, default=[Path("runs")], metavar="folder", help="of runs (default: runs)")

    argument = _add(commands, "report", runs)
    argument("-o", "--output", type=Path, help="folder for HTML, figure, CSV and Markdown (default: that of the runs)")
    argument("--all-formats", action="store_true", help="also JSON, a LaTeX table, PDF and PNG")
    _add_split(argument, "val", "test", default="test if the runs have it")
    _add_view(argument)
    argument(
        "--run-sd",
        action="append",
        help="spread of runs of this recipe and test set in points, if each arm has one run: top1=0.25,top5=0.2",
    )
    argument("--run-sd-source", help="where that spread is from; the report repeats it")
    argument("--wandb", choices=("offline", "online"), help="also log it as a W&B run")
    argument("--project", help="W&B project (default: that of the configuration)")
    argument("--entity", help="W&B user or team (default: yours)")

    argument = _add(commands, "checklist", runs)
    argument("-o", "--output", type=Path, help="Markdown file to write (default: print it)")

    argument = _add(commands, "workspace", runs)
    argument("--project", required=True, help="W&B project that the runs are in")
    argument("--entity", required=True, help="W&B user or team that the project belongs to")
    _add_split(argument, "val", "test", default="test if the runs have it")
    _add_view(argument)

    argument = _add(commands, "figure1", runs, console=Terminal())
    error: dict[str, Any] = {"kind": float, "dest": "target", "metavar": "ERROR", "gt": 0, "lt": 100}
    _number(argument, "--error", help="training error to reach, %% (default 25)", default=25.0, **error)
    argument("-o", "--output", type=Path, help="folder for figure1.svg and figure1.csv (default: that of the runs)")

    argument = _add(commands, "tables", runs, console=Terminal())
    argument("-o", "--output", type=Path, help="folder for tables.md (default: that of the runs)")

    argument = _add(commands, "ensemble", runs, console=Terminal())
    _add_split(argument, "train", "val", "test", default="test if they have it")
    _add_view(argument)
    argument("-o", "--output", type=Path, help="folder for ensemble.json and ensemble.md (default: print only)")


def _add_about_networks(commands: Commands) -> None:
    trained = argparse.ArgumentParser(add_help=False)
    trained.add_argument(
        "file",
        metavar="checkpoint",
        type=lambda text: weights_file(Path(text)),
        help="run directory (its last checkpoint is taken), .ckpt or .safetensors file",
    )

    argument = _add(commands, "evaluate", trained)
    argument("pack", type=Path, help="pack of images of the network's classes, as alexnet prepare makes")
    _add_split(argument, "train", "val", "test", default="val and test")
    argument("--json", dest="as_json", action="store_true", help="print the errors as JSON")
    argument(
        "--predictions",
        type=Path,
        metavar="FOLDER",
        help=f"write the probabilities of all classes there, as {PROBABILITIES_FILE}, for alexnet ensemble",
    )
    argument("--real", type=Path, metavar="real.json", help="count ReaL's labels of ILSVRC-2012's val too")

    argument = _add(commands, "predict", trained)
    argument("images", nargs="+", type=Path, help="image files of any size")
    _add_view(argument)
    _add_class_names(argument)
    argument("--json", dest="as_json", action="store_true", help="print JSON")
    argument("--picture", type=Path, metavar="OUT.svg", help="draw the images with their classes")

    argument = _add(commands, "figures", trained)
    argument("--pack", type=Path, help="pack for Figure 4, as alexnet prepare makes; without it only Figure 3")
    _add_split(argument, "val", "test", default="test if the pack has it")
    argument("--mistakes", action="store_true", help="Figure 4, left: only images that the net gets wrong")
    _number(argument, "--seed", help="seed of the choice of images (default 0)", **SEEDS)
    _add_class_names(argument)
    argument("-o", "--output", type=Path, help="folder (default: figures/ in the run directory)")

    search = argparse.ArgumentParser(add_help=False)
    search.add_argument("source", metavar="pack", type=Path, help="pack, folder or archive with the training images")
    search.add_argument("--layer", default="fc7", help="layer whose activations are compared (default fc7)")
    _number(search.add_argument, "--seed", help="seed of the random queries or the autoencoder (default 0)", **SEEDS)
    argument = _add(commands, "codes", trained, search)
    _number(argument, "--bits", help=f"length of a code, a multiple of 8 (default {BITS})", default=BITS, **LENGTHS)
    _number(argument, "--epochs", help="passes over the training images (default 30)", default=30, ge=1, le=MOST_EPOCHS)
    argument = _add(commands, "similar", trained, search)
    queries: dict[str, Any] = {"dest": "queries", "metavar": "IMAGE", "nargs": "+", "action": "extend", "default": []}
    argument("--query", type=Path, help="image files, behind the pack (default: five held-out images)", **queries)
    made = f"search by codes that `alexnet codes` has made (default {BITS} bits)"
    _number(argument, "--codes", help=made, dest="bits", nargs="?", const=BITS, metavar="BITS", **LENGTHS)
    _number(argument, "-k", help="neighbors to list (default 6, as in Figure 4)", default=6, ge=1)

    argument = _add(commands, "import")
    argument("source", type=Path, help="file of torch.save(torchvision.models.alexnet(...).state_dict(), FILE)")
    argument("out", type=Path, help="file to write, .ckpt or .safetensors")
    argument("--pack", type=Path, help="pack of the same classes, for their names (default: torchvision's words)")

    argument = _add(commands, "export", trained)
    argument("out", type=Path, help="file to write, .safetensors or .onnx")
    argument(
        "--layout",
        choices=("grouped", "columns"),
        default="grouped",
        help="columns: a tensor for each column, as on the two GPUs of 2012; .safetensors only (default grouped)",
    )


def _path(text: str) -> Path:
    """Return a path; an empty text would be the folder that one happens to be in."""
    if not text.strip():
        raise UserError("the source and the pack need a path, and one of them is empty; is a variable unset?")
    return Path(text)


def _choice(name: str, known: Sequence[str]) -> Callable[[str], str]:
    """Return what refuses a value of an option that is none of the known ones, with the nearest."""

    def choice(text: str) -> str:
        if text not in known:
            raise UserError(f"{name} {text}: there is no such choice{did_you_mean(text, known)}")
        return text

    return choice


def _number(argument: Argument, name: str, kind: type[float] = int, **options: Any) -> None:
    """Add an option that takes a number; limits among the `options` of argparse are named as in `BOUNDS`."""
    limits = {bound: options.pop(bound) for bound in BOUNDS if bound in options}

    def number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise UserError(f"{name} {text}: a {'whole ' if kind is int else ''}number is needed") from None
        if wrong := problem(value, **limits):
            raise UserError(f"{name} {text}: {wrong}")
        return value

    argument(name, type=number, **options)


def _add_split(argument: Argument, *splits: str, default: str) -> None:
    """Add the choice of images; `default` says in words what None means."""
    argument("--split", choices=splits, help=f"images that count (default: {default})")


def _add_view(argument: Argument) -> None:
    argument("--view", choices=("center", "ten_crop"), default="ten_crop", help="views of an image (default ten_crop)")


def _add_class_names(argument: Argument) -> None:
    """Add names to display for classes that are named by codes, such as ImageNet's."""
    argument(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="names to display: lines of a class, a space or tab, and words, as in ImageNet's words.txt",
    )
