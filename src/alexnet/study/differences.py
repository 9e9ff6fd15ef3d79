"""In what the runs of one table differ although they should not: versions, precision, device, code."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from alexnet.runs.collect import Run
from alexnet.runs.result import Result


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One fact that is not the same for all runs."""

    fact: str
    values: Mapping[str, tuple[Run, ...]]
    """Value -> the runs that have it."""


def surroundings(result: Result) -> dict[str, str]:
    """Where and with what a run was made: fact -> value, for the facts that are known.

    The device is unknown for a run that never started, the precision for one from before it was noted.
    """
    code = "no git checkout" if result.git is None else result.git.revision
    state = "" if result.git is None or not result.git.dirty else " with changes that are not in it"
    facts = {"code": f"{code}{state}", **result.versions, "precision": result.precision, "device": result.device}
    return {fact: value for fact, value in facts.items() if value}


def differences(runs: Iterable[Run]) -> list[Difference]:
    """Facts with more than one value among the runs, in the order in which they first appear."""
    known = [(run, surroundings(run.result)) for run in runs]
    facts = dict.fromkeys(fact for _, facts in known for fact in facts)
    found = []
    for fact in facts:
        values: dict[str, list[Run]] = defaultdict(list)
        for run, seen in known:
            if fact in seen:
                values[seen[fact]].append(run)
        if len(values) > 1:
            found.append(Difference(fact=fact, values={value: tuple(those) for value, those in values.items()}))
    return found
