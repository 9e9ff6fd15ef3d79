"""The nets of an ensemble, from their probability files."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alexnet.errors import UserError
from alexnet.runs.collect import directories_with
from alexnet.runs.directory import PROBABILITIES_FILE, RESULT_FILE
from alexnet.runs.predictions import ProbabilitiesHeader, read_header, read_probabilities
from alexnet.study.paper.ensemble import Member


@dataclass(frozen=True)
class Net:
    """A folder with probabilities, and what they are of."""

    directory: Path
    header: ProbabilitiesHeader

    def __str__(self) -> str:
        return self.header.net


def read_nets(paths: Sequence[Path]) -> list[Net]:
    """Find the nets at or below `paths`, each once.

    Raises:
        UserError: a path holds none, a run has kept no probabilities, or the nets saw different images.
    """
    found = (folder.resolve() for path in paths for folder in directories_with(path, RESULT_FILE, PROBABILITIES_FILE))
    nets = []
    for directory in dict.fromkeys(found):
        if not (directory / PROBABILITIES_FILE).is_file():
            raise UserError(
                f"{directory} holds the five most probable classes only, and an average needs all: "
                f"alexnet evaluate {directory} PACK --predictions {directory}"
            )
        nets.append(Net(directory, read_header(directory)))
    for net in nets:
        first = nets[0].header
        if (net.header.fingerprint, net.header.class_names) != (first.fingerprint, first.class_names):
            raise UserError(f"{net.directory} was evaluated on other images or classes than {nets[0].directory}")
    for one, other in combinations(nets, 2):
        if one.header.net == other.header.net:
            raise UserError(f"{other.directory} and {one.directory} are of one net, {one}: pass each net once")
    return nets


def common_split(nets: Sequence[Net], wanted: str | None) -> str:
    """Return the wanted split, else `test` if all nets have it, else `val`.

    Raises:
        UserError: a net lacks it.
    """
    split = wanted or ("test" if all("test" in net.header.splits for net in nets) else "val")
    for net in nets:
        if split not in net.header.splits:
            raise UserError(f"{net.directory}: no probabilities for {split}; there are: {', '.join(net.header.splits)}")
    return split


def read_members(nets: Sequence[Net], split: str, view: str) -> tuple[list[Member], NDArray[np.int32]]:
    """Read the probabilities of every net, and the labels of the images."""
    read = [read_probabilities(net.directory, split, view) for net in nets]
    first_labels = read[0][0]
    for net, (labels, _) in zip(nets, read, strict=True):
        if not np.array_equal(labels, first_labels):
            raise UserError(f"{net.directory}: its labels of {split} differ from those of {nets[0].directory}")
    return [probabilities for _, probabilities in read], first_labels
