"""The `alexnet` command: prepare images, describe networks, compare runs, look inside trained networks.

Training is `alexnet train`, or `python train.py` in a checkout.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, TypeAlias

from alexnet import __version__
from alexnet.config.numerics import NUMERICS
from alexnet.config.values import ENCODINGS, SUBSAMPLINGS
from alexnet.errors import UserError, did_you_mean, one_line_errors
from alexnet.runs.directory import PROBABILITIES_FILE, weights_file
from alexnet.terminal import Terminal

BITS = 64
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  typeshed has no public name


def main(arguments: list[str] | None = None) -> None:
    """Run one command. A user's mistake becomes one line and exit code 1."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] in (["train"], ["-sc"]):  # Hydra's command line, or its completion; argparse must not see them
        from alexnet.commands.train import main as train

        train(given[given[0] == "train" :])
        return
    if given[:1] == ["--version"]:
        print(version())
        return
    with one_line_errors():
        options = vars(parser(given[:1]).parse_args(given))
        resolve_name(options.pop("function"))(**options)


def parser(first: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of all commands but `train`; it refuses a `first` word that is none of them."""
    made = argparse.ArgumentParser(prog="alexnet", description=__doc__)
    made.add_argument("--version", action="version", help="print version, NUMERICS and revision")
    commands = made.add_subparsers(required=True, metavar="command")
    _add_before_training(commands)
    _add_about_runs(commands)
    _add_about_networks(commands)
    for word in first:
        if not word.startswith("-") and word not in commands.choices:
            made.error(f"{word}: no such command{did_you_mean(word, commands.choices)}")
    return made


def version() -> str:
    """Return the version, and the revision of the checkout that the code is in."""
    from alexnet.training.provenance import git_state

    state, _ = git_state()
    revision = "" if state is None else f", revision {state.revision or 'unknown'}{' with changes' * state.dirty}"
    return f"alexnet {__version__}, NUMERICS {NUMERICS}{revision}"


def _add(
    commands: Commands, name: str, summary: str, *parents: argparse.ArgumentParser, function: str = "", **constants: Any
) -> argparse.ArgumentParser:
    """Add a command that calls a `module:function`, by default `run` of the module that is named like the command.

    The function gets the arguments by their names, and the `constants`. It is imported when the command runs, so that
    help and refusals do not wait for torch.
    """
    command = commands.add_parser(name, parents=parents, help=summary)
    command.set_defaults(function=function or f"alexnet.commands.{name}:run", **constants)
    return command


def _add_before_training(commands: Commands) -> None:
    command = _add(commands, "prepare", "images in class folders or archives -> a pack")
    command.add_argument(
        "source", type=_path, help="folder of class folders, class tars or ImageNet's archives, or one archive"
    )
    command.add_argument("pack", type=_path, help="directory to make")
    command.add_argument(
        "--split",
        action="append",
        default=[],
        metavar="SPLIT=FOLDER",
        help="which folder is train, val or test, as in val=dev; none=FOLDER leaves one out; may be repeated",
    )
    command.add_argument(
        "--drop-duplicates",
        action="store_true",
        help="keep one image of the same pixels, a held-out one if there is one",
    )
    command.add_argument("--size", type=int, default=256, help="side of the square images in pixels (default 256)")
    command.add_argument("--val-fraction", type=float, default=0.1, help="held out if there is no val (default 0.1)")
    command.add_argument("--test-fraction", type=float, default=0.0, help="held out for testing (default 0)")
    command.add_argument("--seed", type=_seed, default=0, help="seed of the held-out choice (default 0)")
    command.add_argument(
        "--encoding",
        choices=ENCODINGS,
        default="auto",
        help="raw: pixels; jpeg: a tenth of the size, decoded when used; auto: raw up to 4 GiB (default)",
    )
    command.add_argument("--quality", type=int, default=90, help="JPEG quality, 1 to 100 (default 90)")
    command.add_argument("--chroma-subsampling", choices=SUBSAMPLINGS, default="420", help="of JPEG (default 420)")
    command.add_argument("--workers", type=int, help="threads (default: one per core)")
    command.add_argument("--md5", action="store_true", help="first compare archives with their published MD5 (minutes)")

    command = _add(commands, "verify", "compare every file of a pack with its checksum")
    command.add_argument("pack", type=Path, help="directory of the pack")

    command = _add(
        commands,
        "describe",
        "layer table of any configuration, at the paper's scale unless scale= or experiment= says otherwise",
    )
    command.add_argument("overrides", nargs="*", help="as for train.py, such as columns=one lrn=none +ablation=conv6")
    command.add_argument("--classes", type=int, default=1000, help="number of classes (default 1000)")

    command = _add(
        commands,
        "new-ablation",
        "a file to start an idea of your own from, with its claim",
        function="alexnet.commands.new_ablation:run",
    )
    command.add_argument("name", help="such as half_dropout")
    command.add_argument("--folder", type=Path, default=Path("mine"), help="of your own configuration (default mine)")

    command = _add(commands, "plan", "write the plan of a study, to be fixed before its first run")
    command.add_argument("file", type=Path, help="file to write, such as plan.yaml")
    command.add_argument("overrides", nargs="*", help="of every run: experiment=tiny_imagenet optimizer.lr=0.005")
    command.add_argument("--ablations", required=True, help="such as no_lrn,no_dropout,no_lrn+no_dropout")
    command.add_argument("--seeds", default="5,10", help="seeds of each ablation at each look (default 5,10)")
    command.add_argument("--levels", default="0.01,0.04", help="level of each look (default 0.01,0.04)")
    command.add_argument("--baseline-seeds", type=int, default=10, help="seeds of the baseline (default 10)")
    command.add_argument("--measure", choices=("top1", "top5"), default="top1", help="primary measure (default top1)")
    command.add_argument("--margin", type=float, help="points that do not matter (default: each claim's)")
    command.add_argument("--rates", help="search the rate of every arm among these: 0.0025,0.005,0.01")
    command.add_argument("--search-seeds", default="1000,1001", help="of the search (default 1000,1001)")
    command.add_argument("--search-epochs", type=int, help="of each of its runs (default: the whole schedule)")
    command.add_argument("--name", help="of the study (default: that of the file)")


def _add_about_runs(commands: Commands) -> None:
    runs = argparse.ArgumentParser(add_help=False)
    runs.add_argument("paths", nargs="+", type=Path, metavar="runs", help="run directories, or folders of them")

    command = _add(commands, "runs", "how far the runs in a folder are, and how to continue them")
    command.add_argument(
        "paths", nargs="*", type=Path, default=[Path("runs")], metavar="folder", help="of runs (default: runs)"
    )

    command = _add(commands, "report", "compare runs: each ablation with its baseline", runs)
    command.add_argument("-o", "--output", type=Path, help="folder for HTML, figure, CSV and Markdown")
    command.add_argument("--all-formats", action="store_true", help="also JSON, a LaTeX table, PDF and PNG")
    _add_split(command, "val", "test", default="test if the runs have it")
    _add_view(command)
    command.add_argument("--wandb", choices=("offline", "online"), help="also log it as a W&B run")
    command.add_argument("--project", help="W&B project (default: that of the configuration)")
    command.add_argument("--entity", help="W&B user or team (default: yours)")

    command = _add(commands, "checklist", "the reproducibility checklist of a study, filled from its runs", runs)
    command.add_argument("-o", "--output", type=Path, help="Markdown file to write (default: print it)")

    command = _add(commands, "workspace", "save a W&B workspace and a W&B report about runs that are online", runs)
    command.add_argument("--project", required=True, help="W&B project that the runs are in")
    command.add_argument("--entity", required=True, help="W&B user or team that the project belongs to")
    _add_split(command, "val", "test", default="test if the runs have it")
    _add_view(command)

    command = _add(
        commands,
        "figure1",
        "how fast networks fit their training images, drawn as Figure 1",
        runs,
        function="alexnet.study.paper.figure1:figure1",
        console=Terminal(),
    )
    command.add_argument(
        "--error",
        dest="target",
        metavar="ERROR",
        type=float,
        default=25.0,
        help="training error to reach, %% (default 25)",
    )
    command.add_argument("-o", "--output", type=Path, help="folder for figure1.svg and figure1.csv")

    command = _add(
        commands,
        "tables",
        "the paper's Tables 1 and 2 with our results",
        runs,
        function="alexnet.study.paper.tables:report_tables",
        console=Terminal(),
    )
    command.add_argument("-o", "--output", type=Path, help="folder for tables.md (default: that of the runs)")

    command = _add(
        commands,
        "ensemble",
        "errors of the average of several networks",
        runs,
        function="alexnet.study.paper.ensemble:report_ensemble",
        console=Terminal(),
    )
    _add_split(command, "train", "val", "test", default="test if they have it")
    _add_view(command)
    command.add_argument("-o", "--output", type=Path, help="folder for ensemble.json and ensemble.md")


def _add_about_networks(commands: Commands) -> None:
    trained = argparse.ArgumentParser(add_help=False)
    trained.add_argument(
        "file",
        metavar="checkpoint",
        type=lambda text: weights_file(Path(text)),
        help="run directory (its last checkpoint is taken), .ckpt or .safetensors file",
    )

    command = _add(commands, "evaluate", "errors of a trained network on a pack", trained)
    command.add_argument("pack", type=Path, help="pack with the network's classes")
    _add_split(command, "train", "val", "test", default="val and test")
    command.add_argument("--json", dest="as_json", action="store_true", help="print the errors as JSON")
    command.add_argument(
        "--predictions",
        type=Path,
        metavar="FOLDER",
        help=f"write the probabilities of all classes there, as {PROBABILITIES_FILE}, for alexnet ensemble",
    )

    command.add_argument("--real", type=Path, metavar="real.json", help="count ReaL's labels of ILSVRC-2012's val too")

    command = _add(commands, "predict", "the five most probable classes of image files", trained)
    command.add_argument("images", nargs="+", type=Path, help="image files of any size")
    _add_view(command)
    _add_class_names(command)
    command.add_argument("--json", dest="as_json", action="store_true", help="print JSON")
    command.add_argument("--picture", type=Path, metavar="OUT.svg", help="draw the images with their classes")

    command = _add(commands, "figures", "the paper's Figures 3 and 4 for a trained network", trained)
    command.add_argument("--pack", type=Path, help="images for Figure 4; without it only Figure 3 is drawn")
    _add_split(command, "val", "test", default="test if the pack has it")
    command.add_argument("--mistakes", action="store_true", help="Figure 4, left: only images that the net gets wrong")
    command.add_argument("--seed", type=_seed, default=0, help="seed of the choice of images (default 0)")
    _add_class_names(command)
    command.add_argument("-o", "--output", type=Path, help="folder (default: figures/ in the run directory)")

    search = argparse.ArgumentParser(add_help=False)
    search.add_argument("source", metavar="pack", type=Path, help="pack, folder or archive with the training images")
    search.add_argument("--layer", default="fc7", help="layer whose activations are compared (default fc7)")
    search.add_argument("--seed", type=_seed, default=0, help="of the random queries or the autoencoder (default 0)")
    command = _add(commands, "codes", "train short binary codes of features (section 6.1)", trained, search)
    command.add_argument("--bits", type=int, default=BITS, help=f"length of a code, a multiple of 8 (default {BITS})")
    command.add_argument("--epochs", type=int, default=30, help="passes over the training images (default 30)")
    command = _add(commands, "similar", "the training images nearest to an image", trained, search)
    command.add_argument(
        "--query",
        dest="queries",
        metavar="QUERY",
        nargs="+",
        type=Path,
        default=[],
        help="image files (default: five held-out images)",
    )
    command.add_argument(
        "--codes",
        dest="bits",
        nargs="?",
        type=int,
        const=BITS,
        metavar="BITS",
        help=f"search by codes that `alexnet codes` has made (default {BITS} bits)",
    )
    command.add_argument("-k", type=int, default=6, help="neighbors to list (default 6, as in Figure 4)")

    command = _add(
        commands,
        "import",
        "the weights of torchvision's AlexNet as a network of this program",
        function="alexnet.commands.import_weights:run",
    )
    command.add_argument(
        "source", type=Path, help="file of torch.save(torchvision.models.alexnet(...).state_dict(), FILE)"
    )
    command.add_argument("out", type=Path, help="file to write, .ckpt or .safetensors")
    command.add_argument(
        "--pack", type=Path, help="of the same classes, for their names (default: torchvision's words)"
    )

    command = _add(commands, "export", "a trained network as .safetensors or .onnx", trained)
    command.add_argument("out", type=Path, help="file to write, .safetensors or .onnx")
    command.add_argument(
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


def _seed(text: str) -> int:
    if int(text) < 0:
        raise UserError(f"--seed {text} is negative")
    return int(text)


def _add_split(command: argparse.ArgumentParser, *splits: str, default: str) -> None:
    """Add the choice of images; `default` says in words what None means."""
    command.add_argument("--split", choices=splits, help=f"default: {default}")


def _add_view(command: argparse.ArgumentParser) -> None:
    """Add the choice of the test-time view."""
    command.add_argument("--view", choices=("center", "ten_crop"), default="ten_crop", help="default: ten_crop")


def _add_class_names(command: argparse.ArgumentParser) -> None:
    """Add names to display for classes that are named by codes, such as ImageNet's."""
    command.add_argument(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="names to display: lines of a class, a space or tab, and words, as in ImageNet's words.txt",
    )
