"""What tells tables apart that are of one experiment, recipe and data set: what their commands do not share."""

import shlex
from collections import defaultdict
from collections.abc import Sequence

from alexnet.config.schema import NON_IDENTITY_KEYS
from alexnet.runs.collect import Run

OF_RUNS = ("ablation", "seed", "experiment", "recipe", *NON_IDENTITY_KEYS)
"""Keys that differ within a table, stand in its title anyway, or have no part in what is computed."""


def distinguishing_overrides(groups: Sequence[Sequence[Run]]) -> list[str]:
    """For each group of runs the overrides that all its runs have and not all groups of its title; mostly none.

    Where these do not tell groups apart, as after a change of `conf/`, the pairing key and the data's fingerprint do.
    """
    alike: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for place, group in enumerate(groups):
        result = group[0].result
        alike[result.experiment, result.recipe, result.data.name].append(place)
    words = {}
    for places in alike.values():
        given = {place: _common([_overrides(run) for run in groups[place]]) for place in places}
        shared = _common(list(given.values()))
        said = {place: " ".join(one for one in given[place] if one not in shared) for place in places}
        for place, own in said.items():
            result = groups[place][0].result
            is_told = len(places) == 1 or list(said.values()).count(own) == 1
            words[place] = own if is_told else f"pairing key {result.pairing_key}, images {result.data.fingerprint}"
    return [words[place] for place in range(len(groups))]


def _overrides(run: Run) -> list[str]:
    """What a run's command says of what is computed."""
    words = [word.lstrip("+") for word in shlex.split(run.result.command) if "=" in word]
    keys = [word.partition("=")[0].replace("/", ".") for word in words]
    return [
        word
        for word, key in zip(words, keys, strict=True)
        if not any(key == one or key.startswith(f"{one}.") for one in OF_RUNS)
    ]


def _common(lists: Sequence[list[str]]) -> list[str]:
    """The entries of the first list that stand in all of them."""
    return [entry for entry in lists[0] if all(entry in one for one in lists)]
