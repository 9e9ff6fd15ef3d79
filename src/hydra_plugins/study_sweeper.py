"""Any Hydra sweeper with any launcher, as a study: every job checked first, watched, and compared at the end.

`conf/config.yaml` sets `hydra.sweeper._target_` to StudySweeper, whatever `hydra/sweeper` chooses. StudySweeper sets up
the chosen sweeper with a StudyLauncher in front of the chosen launcher. Batches of jobs are the one thing that all
sweepers have in common: a grid is one batch, an adaptive search many.

Hydra imports this module at every start, also of other programs in the environment, so at the top it imports Hydra
alone and registers nothing.
"""

import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

if TYPE_CHECKING:
    from alexnet.sweep.study import PlannedRun, Study


class StudyLoader:
    """Hydra's config loader for a study, which it takes along from the sweeper to the launcher.

    It composes each job once, to be checked. Launchers that start processes get Hydra's own loader.
    """

    def __init__(self, loader: ConfigLoader, study: "Study") -> None:
        self.loader, self.study = loader, study
        self.composed: dict[tuple[str, ...], DictConfig] = {}

    def compose(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        key = tuple(sweep_overrides)
        if key not in self.composed:
            self.composed[key] = self.loader.load_sweep_config(master_config, sweep_overrides)
        return deepcopy(self.composed[key])  # launchers write the job's number into theirs

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        if tuple(sweep_overrides) in self.composed:
            return self.compose(master_config, sweep_overrides)
        return master_config  # the sweeper only tries all jobs; the launcher then says what is wrong with each

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


class StudySweeper(Sweeper):
    """The chosen sweeper, with a comparison at its end, however it ends."""

    def __init__(self, **chosen: Any) -> None:
        """Take the parameters of the chosen sweeper, which the configuration holds as well."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from alexnet.config.overrides import expanded, merged, named
        from alexnet.sweep.study import Study

        hydra, loader = config.hydra, hydra_context.config_loader
        self.study, self.folder = Study(hydra), Path(hydra.sweep.dir)
        search_path = [one for one in hydra.overrides.hydra if one.startswith("hydra.searchpath=")]
        listed = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
        given = expanded(hydra.overrides.task, loader, search_path)
        params, self.arguments = merged(expanded(listed, loader, search_path), given)
        # The class behind the choice, before our configuration put itself in its place: composed without it.
        choice = f"hydra/sweeper={hydra.runtime.choices['hydra/sweeper']}"
        own = compose(overrides=[*search_path, choice], return_hydra_config=True).hydra.sweeper
        sweeper = deepcopy(hydra.sweeper)
        with read_write(sweeper), open_dict(sweeper):
            sweeper.update(_target_=own["_target_"], params=params)
        launcher = {"_target_": f"{__name__}.StudyLauncher", "_recursive_": False, "chosen": hydra.launcher}
        study_loader = cast(ConfigLoader, StudyLoader(loader, self.study))
        context = HydraContext(config_loader=study_loader, callbacks=hydra_context.callbacks)
        within = _with(config, sweeper=sweeper, launcher={**launcher, "is_study": bool(listed)})
        if config.study.plan and not {named(one) for one in self.arguments} & {"seed", "ablation"}:
            self.sweeper: Sweeper = PlanSweeper()
            self.sweeper.setup(hydra_context=context, task_function=task_function, config=within)
        else:
            self.sweeper = Plugins.instance().instantiate_sweeper(
                hydra_context=context, task_function=task_function, config=within
            )

    def sweep(self, arguments: list[str]) -> Any:
        from alexnet.untrusted import refuse_link

        existed, written = self.folder.exists(), self.folder / "multirun.yaml"
        refuse_link(written)
        was_written = written.exists()
        returned, failure = None, None
        try:
            returned = self.sweeper.sweep(self.arguments)
        except Exception as error:
            failure = error
            if not self.study.has_begun:
                # Hydra's own sweeper writes this before its jobs are checked.
                if not was_written:
                    written.unlink(missing_ok=True)
                if not existed and self.folder.exists() and not any(self.folder.iterdir()):
                    self.folder.rmdir()
                raise
        finally:
            self.study.compare()
            if isinstance(sys.exc_info()[1], KeyboardInterrupt | SystemExit):
                self.study.say_how_to_continue()
        self.study.check_all_finished()
        if failure is not None and self.study.all_have_errors:  # else it is a run's own, shown and in its result file
            raise failure
        return returned


class PlanSweeper(Sweeper):
    """The runs of a planned study up to its next look, which are no grid: first those that choose the rates."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.plan, self.runs = Path(config.study.plan), Path(config.runs)
        self.jobs = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        from alexnet.sweep.planned_study import OpenPlan

        returned: Sequence[JobReturn] = []
        # The search may need a second turn, beyond the edges of its grid.
        for stage in (OpenPlan.search_jobs, OpenPlan.search_jobs, OpenPlan.next_look):
            if jobs := stage(OpenPlan.read(self.plan, self.runs)):
                returned = self.jobs.launch([[*arguments, *job] for job in jobs], initial_job_idx=0)
        return returned


class StudyLauncher(Launcher):
    """The chosen launcher, given only jobs that have passed every check and are not finished."""

    def __init__(self, chosen: DictConfig, is_study: bool) -> None:
        """Take the configuration of the chosen launcher, and whether an experiment or the user lists the runs."""
        self.chosen, self.is_study = chosen, is_study

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.loader = cast(StudyLoader, hydra_context.config_loader)
        self.context = HydraContext(config_loader=self.loader.loader, callbacks=hydra_context.callbacks)
        self.study = study = self.loader.study
        self.config = _with(config, launcher=self.chosen)

        def watched(job: DictConfig) -> Any:
            try:
                return task_function(job)
            finally:
                study.progress.look()

        in_this_process = study.launcher == "basic"
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context if in_this_process else self.context,
            task_function=watched if in_this_process else task_function,
            config=self.config,
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from alexnet.sweep.study import note_source

        planned = self._planned(job_overrides)
        missing = self.study.begin(planned)

        def start(runs: Sequence["PlannedRun"]) -> None:
            self.launcher.launch([list(run.overrides) for run in runs], initial_job_idx=initial_job_idx)

        def body(run: "PlannedRun", at_once: int) -> Callable[[], object]:
            job = self.loader.compose(self.config, list(run.overrides))
            with open_dict(job):
                job.hydra.job.id = job.hydra.job.num = initial_job_idx + planned.index(run)
            return partial(_do_job, job, self.context, Singleton.get_state()["instances"], at_once)

        if missing:
            if self.study.launcher != "basic":
                note_source(self.config.hydra)
            self.study.run(missing, start, body)
        return [_returned(run) for run in planned]

    def _planned(self, jobs: Sequence[Sequence[str]]) -> list["PlannedRun"]:
        """Compose and check all jobs; a mistake of each is shown, and any one ends the sweep."""
        from alexnet.commands.train import checked
        from alexnet.config.overrides import explain
        from alexnet.errors import UserError
        from alexnet.sweep.planned_study import OpenPlan
        from alexnet.sweep.study import PlannedRun, refuse

        plans = cache(OpenPlan.read)
        planned, mistakes = [], list[str | None]()
        for overrides in jobs:
            try:
                composed = self.loader.compose(self.config, list(overrides))
                if composed.hydra.sweeper.get("params") and not self.is_study:
                    raise UserError(f"experiment={composed.hydra.runtime.choices.experiment} is a study: give it alone")
                job = checked(composed, composed.hydra)
                if job.config.study.plan:
                    plans(Path(job.config.study.plan), Path(job.config.runs)).check(job)
                if job.config.trainer.fast_dev_run:
                    raise UserError("trainer.fast_dev_run leaves nothing to compare; in a sweep use debug=short")
                if Path(composed.hydra.sweep.dir, composed.hydra.sweep.subdir) != Path(job.config.runs, job.name):
                    raise UserError(
                        "hydra.sweep: a study's runs lie in runs=DIR, each in a folder of its name; give that"
                    )
                planned.append(PlannedRun(overrides, job))
                mistakes.append(None)
            except Exception as error:
                if (text := explain(error, [*overrides, *sys.argv[1:]])) is None:
                    raise
                mistakes.append(text)
        refuse(mistakes)
        return planned


def _do_job(job: DictConfig, context: HydraContext, instances: dict[Any, Any], at_once: int) -> None:
    """Do one job in a process of its own, with what Hydra knew where the sweep is; its result file says the outcome."""
    from alexnet.commands import train  # with our own resolvers, which cannot be sent

    setup_globals()
    Singleton.set_state({**Singleton.get_state(), "instances": instances})
    run_job(
        hydra_context=context,
        task_function=partial(train.run_job, at_once=at_once),
        config=job,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _returned(run: "PlannedRun") -> JobReturn:
    """Tell the sweeper how a run ended."""
    if (error := run.objective) is None:
        return _Unfinished(overrides=run.overrides, status=JobStatus.FAILED)
    one = JobReturn(overrides=run.overrides, status=JobStatus.COMPLETED)
    one.return_value = error
    return one


class _Unfinished(JobReturn):
    """A run that has said itself what is wrong: Hydra's own class would print another line about it."""

    @property  # type: ignore[misc]  # nothing sets it
    def return_value(self) -> Any:
        from alexnet.errors import UserError

        raise UserError(f"a run did not finish: {' '.join(self.overrides or ())}")


def _with(config: DictConfig, **plugins: Any) -> DictConfig:
    """Return a copy of Hydra's configuration with other plugins."""
    changed = deepcopy(config)
    with read_write(changed.hydra), open_dict(changed.hydra):
        changed.hydra.update(plugins)
    return changed
