"""`alexnet runs`: how far the runs in a folder are, what is missing of a plan, and how to continue."""

import os
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from alexnet.config.identity import NUMERICS
from alexnet.data.sources.file_names import told_apart
from alexnet.errors import UserError, as_started, plural, shown_time
from alexnet.files import from_here
from alexnet.runs.collect import Run, collect
from alexnet.runs.result import BASELINE, UNFINISHED_MESSAGE
from alexnet.runs.summary import Status, status
from alexnet.sweep.planned_study import diverged_line, missing_runs, runs_of
from alexnet.terminal import UNLIMITED, Terminal

SHORTEST_NAME = 12
"""Characters that a run's name keeps; a column is left out before it gets shorter."""
LONGEST_END = 40
"""Characters after ablation and seed."""
HASH = 5
"""Last characters of a directory's name that tell runs apart where nothing else does."""
MOST_TOLD = 4
"""Unfinished runs whose message and command are shown; a study's own command continues all."""
COLUMNS: tuple[tuple[str, int, Callable[[Status], str]], ...] = (
    ("state", 0, lambda one: one.state),
    ("epoch", 1, lambda one: _of(one.epochs_done, one.epochs)),
    ("step", 4, lambda one: _of(one.steps_done, one.steps)),
    ("error", 2, lambda one: "" if one.error is None else f"{one.error:.1f} %"),
    ("of", 6, lambda one: one.split or ""),
    ("images/s", 5, lambda one: "" if one.images_per_second is None else f"{one.images_per_second:,.0f}"),
    ("left", 3, lambda one: "" if one.seconds_left is None else shown_time(one.seconds_left)),
    ("directory", 7, lambda one: one.run.directory.name),
)
"""Heading, rank and cell; on a narrow terminal the columns of the highest ranks are left out first, never that of 0."""


def run(paths: list[Path]) -> None:
    """Print a line for each run, sums, what is missing of plans, and how to continue."""
    found = collect(paths)
    runs = sorted(found.runs, key=_place)
    states = [status(one) for one in runs]
    console = Terminal()
    narrow = console.is_terminal or "COLUMNS" in os.environ
    for line in table(states, console.width if narrow else UNLIMITED):
        console.print(line, soft_wrap=True)
    counts = Counter(one.state for one in states)
    told = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    console.print(f"{plural(len(states), 'run')}: {told}")
    for text in found.unreadable:
        console.print(text)
    plans = dict.fromkeys(one.result.plan for one in runs if one.result.plan and one.result.numerics == NUMERICS)
    for plan in plans:
        of_plan = runs_of(plan, runs)
        if lost := diverged_line(of_plan):
            console.print(f"plan {plan.name}: {lost}")
        if missing := missing_runs(plan, of_plan):
            console.print(f"plan {plan.name}: {missing}; to do them:")
            console.print(f"  alexnet train {_of_plan(of_plan)}", soft_wrap=True)
        else:
            console.print(f"plan {plan.name}: nothing is missing")
    _say_how_to_continue([one for one in states if one.state in ("interrupted", "failed")], console)


def table(states: Sequence[Status], width: int) -> list[str]:
    """Return lines of at most `width` characters: names are cut, and columns left out where they do not fit."""
    names = ["run", *_labels(states)]
    columns = [(rank, [heading, *map(show, states)]) for heading, rank, show in COLUMNS]
    if len(data := _data_names(states)) > 1:
        columns.append((1, ["data", *(data[one.run.result.data.fingerprint] for one in states)]))
    kept = [(rank, cells) for rank, cells in columns if any(cells[1:])]

    def room() -> int:
        return width - sum(2 + max(map(len, cells)) for _, cells in kept)

    shortest = max(SHORTEST_NAME, *(len(_end(name)) + 4 for name in names))
    while room() < min(shortest, max(map(len, names))) and len(kept) > 1:
        kept.remove(max(kept))
    longest = max(shortest, room())
    names = [_cut(name, longest) for name in names]
    columns_of_text = [[name.ljust(max(map(len, names))) for name in names]]
    for _, cells in kept:
        across = max(map(len, cells))
        is_text = cells[0] in ("state", "of", "data", "directory")
        columns_of_text.append([cell.ljust(across) if is_text else cell.rjust(across) for cell in cells])
    return ["  ".join(cells).rstrip() for cells in zip(*columns_of_text, strict=True)]


def _data_names(states: Sequence[Status]) -> dict[str, str]:
    """Return the names of the data sets by fingerprint, of which two of one name show a part."""
    names = {one.run.result.data.fingerprint: one.run.result.data.name for one in states}
    return dict(zip(names, told_apart([*names.values()], (one[:HASH] for one in names)), strict=True))


def _of(done: int | None, planned: int | None) -> str:
    if done is None:
        return ""
    return _short(done) if planned in (None, done) else f"{_short(done)}/{_short(planned or 0)}"


def _short(count: int) -> str:
    return f"{count}" if count < 10_000 else f"{count / 1000:.0f}k"


def _cut(name: str, longest: int) -> str:
    """Shorten a name in the middle: the seed and what follows it stay."""
    end = _end(name)
    return name if len(name) <= longest else f"{name[: longest - 2 - len(end)]}..{end}"


def _end(name: str) -> str:
    ablation, space, end = name.partition(" ")
    return f"{space}{end}" or ablation[-5:]


def _place(run: Run) -> tuple[str, str, bool, str, int, float]:
    one = run.result
    return one.experiment, one.recipe, one.ablation != BASELINE, one.ablation, one.seed, one.lr or 0.0


def _labels(states: Sequence[Status]) -> list[str]:
    """Name runs by ablation and seed, and those of one name by what tells them apart: at worst the directory."""
    runs = [one.run for one in states]
    plain = [f"{one.result.ablation} {one.result.seed}" for one in runs]
    if len(set(plain)) == len(plain):
        return plain

    from alexnet.study.pairing import distinguishing_overrides  # scipy

    same = {name: [run for run, other in zip(runs, plain, strict=True) if other == name] for name in plain}
    settings: dict[Path, str] = {}
    for of_name in same.values():
        own = distinguishing_overrides([[one] for one in of_name])
        settings |= {one.directory: f", {words}" if words else "" for one, words in zip(of_name, own, strict=True)}
    further = (
        [f", lr {one.result.lr}" for one in runs],
        [f", {one.epochs} epochs" for one in states],
        [f", {one.result.experiment}" for one in runs],
        [settings[one.directory] for one in runs],
        [f" {one.directory.name.rpartition('-')[2][-HASH:]}" for one in runs],
    )
    for ends in further:
        names = [name + end * (len(same[name]) > 1) for name, end in zip(plain, ends, strict=True)]
        if len(set(names)) == len(names) and max(map(len, ends)) <= LONGEST_END:
            return names
    folder = os.path.commonpath([one.directory for one in runs])
    return [os.path.relpath(one.directory, folder) for one in runs]


def _say_how_to_continue(states: Sequence[Status], console: Terminal) -> None:
    """Print why runs ended, and their commands whole, so that they can be copied; last those that diverged."""
    states = sorted(states, key=lambda one: one.run.result.diverged)
    for one in states[:MOST_TOLD]:
        result = one.run.result
        why = "stopped without a word" if result.message == UNFINISHED_MESSAGE else result.message
        line = f"{result.ablation} seed {result.seed}: {why}"
        console.print(line if result.diverged else f"{line}; to continue it:")
        if not result.diverged:
            words = [word for word in shlex.split(result.command) if not word.startswith("runs=")]
            console.print(f"  {as_started(shlex.join([*words, *_elsewhere(one.run)]))}", soft_wrap=True)
    if left := states[MOST_TOLD:]:
        how = "" if left[0].run.result.diverged else "; the command of the study continues all of them"
        console.print(f"and {len(left)} more{how}")


def _elsewhere(run: Run) -> list[str]:
    """Return the override for where a run is now, if that is not `runs`; it may have been moved since it was made."""
    here = run.directory.parent
    return [] if Path("runs").resolve() == here else [f"runs={from_here(here)}"]


def _of_plan(runs: Sequence[Run]) -> str:
    """Return the overrides that name a plan, the user's folders of choices, and where its runs are if elsewhere."""
    for one in runs:
        with suppress(UserError, KeyError, TypeError):  # a run that was copied without its configuration
            own = [word for word in one.result.overrides if word.startswith("hydra.searchpath=")]
            if file := one.config()["study"]["plan"]:  # null if the run was continued without it
                return shlex.join([*own, f"study.plan={file}", *_elsewhere(one)])
    return "study.plan=FILE"
