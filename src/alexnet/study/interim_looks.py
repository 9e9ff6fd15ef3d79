"""The looks of a planned study: which runs each takes, and which ablations an earlier one has settled."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from alexnet.runs.result import BASELINE
from alexnet.runs.study_plan import Plan, result_name
from alexnet.study.assessment import Arms, Assessment, assess
from alexnet.study.flags import Flag
from alexnet.study.pairing import MEASURES, Evaluated
from alexnet.study.verdict import Direction

UNSETTLED = (Direction.NOT_RESOLVED, Direction.TOO_FEW_SEEDS)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Every ablation of a planned study, as of the look that settled it, else of the last complete one."""

    assessments: Mapping[str, Mapping[str, Assessment]]
    """By measure and ablation."""
    settled: Mapping[str, int]
    """The look, counted from 0, at which an ablation was settled."""
    arms: Arms
    """The runs that were judged: none of a look that is not complete, but for the first."""
    next_look: int
    """The first that is not complete; the number of looks if there is none."""


def judge(
    arms: Arms,
    plan: Plan,
    *,
    diverged: Mapping[str, Set[int]] = MappingProxyType({}),
    table_flags: Sequence[Flag] = (),
) -> Judged:
    """Assess the ablations of a plan look by look; runs outside of the plan are ignored.

    Seeds of an arm that `diverged` are not waited for: a look has the others, whose number the tests allow for.
    At each look Holm's adjustment is over all ablations: those settled before enter with the p of their verdict.
    """
    measures = next((tuple(ones[0].correct) for ones in arms.values() if ones), MEASURES)
    deciding = plan.measure if plan.measure in measures else measures[0]  # few classes have no top-5 error
    assessments: dict[str, dict[str, Assessment]] = {measure: {} for measure in measures}
    settled: dict[str, int] = {}
    counted: dict[str, Sequence[Evaluated]] = {}
    names, next_look = [result_name(ablation) for ablation in plan.ablations], len(plan.looks)
    for number, look in enumerate(plan.looks):
        seeds_of = {name: plan.seeds(name, number) for name in (BASELINE, *names)}
        made = {name: [one for one in arms.get(name, ()) if one.run.result.seed in seeds_of[name]] for name in seeds_of}
        taken = {name: runs for name, runs in made.items() if runs} | {name: counted[name] for name in settled}
        waiting = [name for name in names if name not in settled]
        lost = {name: len(seeds & {*seeds_of[name]}) for name, seeds in diverged.items()}
        ended = {name: len(made[name]) + lost.get(name, 0) for name in (BASELINE, *waiting)}
        missing = [name for name, count in ended.items() if count < len(seeds_of[name])]
        if waiting and missing:
            next_look = number
        if not waiting or (number and missing):
            break
        counted |= {name: runs for name, runs in taken.items() if name not in settled}
        text = f"not all runs of the plan's first look, {look.seeds} seeds of each ablation, are finished"
        flags = [*table_flags, *([Flag(name="look incomplete", text=text)] if missing else [])]
        entering = {
            name: 1.0 if assessments[deciding][name].direction is Direction.NO_EFFECT else 0.0 for name in settled
        }
        for measure in measures:
            primary = measure == deciding
            found = assess(
                taken,
                measure,
                level=look.level,
                margin=plan.margin if primary else None,
                settled=entering if primary else {},
                diverged=lost,
                table_flags=flags,
            )
            assessments[measure] |= {name: one for name, one in found.items() if name not in settled}
        if missing:
            break
        words = {name: one.direction for name, one in assessments[deciding].items() if name in waiting}
        settled |= {name: number for name, word in words.items() if word not in UNSETTLED}
    return Judged(assessments=assessments, settled=settled, arms=counted, next_look=next_look)
