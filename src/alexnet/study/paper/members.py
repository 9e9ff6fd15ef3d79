"""The nets of an ensemble, from their probability files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alexnet.errors import UserError
from alexnet.runs.collect import directories_with
from alexnet.runs.directory import PROBABILITIES_FILE, RESULT_FILE
from alexnet.runs.probabilities import ProbabilitiesHeader, read_answered, read_probabilities
from alexnet.study.paper.ensemble import Member


@dataclass(frozen=True)
class Net:
    """A folder with probabilities, and what they are of."""

    directory: Path
    answered: ProbabilitiesHeader

    def __str__(self) -> str:
        return self.answered.net


def read_nets(paths: Sequence[Path]) -> list[Net]:
    """The nets at or below `paths`, each once, which must have been asked about the same images.

    Raises:
        UserError: a path holds none, a run has kept no probabilities, or the nets do not belong together.
    """
    directories = dict.fromkeys(
        directory.resolve() for path in paths for directory in directories_with(path, RESULT_FILE, PROBABILITIES_FILE)
    )
    nets = [Net(directory, _answered(directory)) for directory in directories]
    _check_alike(nets)
    return nets


def _answered(directory: Path) -> ProbabilitiesHeader:
    if not (directory / PROBABILITIES_FILE).is_file():
        raise UserError(
            f"{directory} holds the five most probable classes only, and an average needs all: "
            f"alexnet evaluate {directory} PACK --predictions {directory}"
        )
    return read_answered(directory)


def _check_alike(nets: Sequence[Net]) -> None:
    first = nets[0].answered
    for place, net in enumerate(nets):
        if net.answered.fingerprint != first.fingerprint or net.answered.class_names != first.class_names:
            raise UserError(f"{net.directory} was asked about other images or classes than {nets[0].directory}")
        for other in nets[:place]:
            if other.answered.net == net.answered.net:
                raise UserError(f"{net.directory} and {other.directory} are of one net, {net}: give each net once")


def common_split(nets: Sequence[Net], wanted: str | None) -> str:
    """The split that is wanted, or `test` where all nets have it, else `val`; UserError where one has not."""
    split = wanted or ("test" if all("test" in net.answered.splits for net in nets) else "val")
    for net in nets:
        if split not in net.answered.splits:
            raise UserError(
                f"{net.directory}: no probabilities for {split}; there are: {', '.join(net.answered.splits)}"
            )
    return split


def read_members(nets: Sequence[Net], split: str, view: str) -> tuple[list[Member], "np.typing.NDArray[np.int32]"]:
    """The probabilities of every net, and the labels of the images."""
    answers = [read_probabilities(net.directory, split, view) for net in nets]
    labels = answers[0].labels
    for net, said in zip(nets, answers, strict=True):
        if not np.array_equal(said.labels, labels):
            raise UserError(f"{net.directory}: its labels of {split} differ from those of {nets[0].directory}")
    return [said.views[view] for said in answers], labels
