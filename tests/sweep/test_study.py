"""What becomes of a study when a process of its launcher dies, and which of its runs are done."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from alexnet.data.pack.prepare import prepare
from alexnet.errors import UserError
from alexnet.files import exclusive
from alexnet.runs.directory import LOCK_FILE
from alexnet.runs.result import DIVERGED
from alexnet.runs.study_plan import Plan, write_plan
from alexnet.sweep.study import PlannedRun, Study, max_parallel_jobs, refuse, start_all
from hydra_plugins.study_sweeper import StudyLauncher, StudySweeper
from tests.data.samples import class_folders
from tests.sweep.test_progress import leave, plan


class Pool:
    """Begins two runs at a time; a run of seed 1 takes all that are under way with it, as joblib's pool does."""

    def __init__(self) -> None:
        self.started: list[list[int]] = []

    def start(self, runs: Sequence[PlannedRun]) -> None:
        self.started.append([run.job.config.seed for run in runs])
        for at in range(0, len(runs), 2):
            pair = runs[at : at + 2]
            dies = any(run.job.config.seed == 1 for run in pair)
            for run in pair:
                leave(run, "interrupted" if dies else "finished")
            if dies:
                raise RuntimeError("a worker process was terminated\nby signal 9")


def test_start_all_does_the_others_when_a_process_dies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, pool = plan(tmp_path), Pool()
    start_all(pool.start, runs)
    assert pool.started == [[0, 1, 2], [2], [0], [1]]
    statuses = [run.outcome.status if run.outcome else None for run in runs]
    assert statuses == ["finished", "interrupted", "finished"]
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2 and all("a worker process was terminated" in line for line in errors)


def test_start_all_gives_up_a_launcher_that_begins_nothing(tmp_path: Path) -> None:
    def start(_: Sequence[PlannedRun]) -> None:
        raise RuntimeError("no sbatch here")

    with pytest.raises(RuntimeError, match="no sbatch here"):
        start_all(start, plan(tmp_path))


def hydra(launcher: str = "basic", **options: int) -> SimpleNamespace:
    choices = {"hydra/launcher": launcher}
    return SimpleNamespace(runtime=SimpleNamespace(choices=choices), launcher=SimpleNamespace(**options))


def test_a_study_does_each_missing_run_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, _ = plan(tmp_path)
    leave(first, "finished")
    leave(second, "interrupted")
    runs = plan(tmp_path)
    study = Study(hydra())
    assert study.begin([*runs, *runs]) == runs[1:]
    said = capsys.readouterr().out
    assert "3 runs: 1 finished before, 2 to do (1 of them begun before)" in said and "another baseline" not in said
    write_plan(tmp_path / "plan.yaml", Plan(name="p", overrides=(), ablations=("no_lrn",)), "alexnet train")
    settings = replace(first.job.config, study=replace(first.job.config.study, plan=str(tmp_path / "plan.yaml")))
    Study(hydra()).begin([PlannedRun([], replace(first.job, config=settings))])
    assert "1 (such as baseline seed 0) were made without this plan" in capsys.readouterr().out
    pack = prepare(class_folders(tmp_path / "images"), tmp_path / "pack", size=32, workers=1, show_progress=False)
    rebuilt = replace(first.job.config, data=replace(first.job.config.data, root=str(pack.path)))
    Study(hydra()).begin([PlannedRun([], replace(first.job, config=rebuilt))])
    assert "1 (such as baseline seed 0) saw other images than data.root holds now" in capsys.readouterr().out
    other = PlannedRun([], replace(first.job, pairing_key="of another baseline"))
    for earlier in ([], runs):  # the same in one sweep, and of an earlier one
        Study(hydra()).begin([*earlier, other])
        assert "baseline seed 0 computes the same with another baseline" in capsys.readouterr().out
    assert study.begin(runs) == [] and not study.has_begun
    leave(runs[2], "failed")
    with pytest.raises(UserError, match=r"2 of 3 runs did not finish: baseline seed 1 \(not begun\), .* \(failed\)"):
        study.check_all_finished()
    with (
        exclusive(runs[2].directory / LOCK_FILE, "it"),
        pytest.raises(UserError, match=r"2 \(running elsewhere\)"),
    ):
        study.check_all_finished()
    repeated = Study(hydra())
    repeated.begin([PlannedRun([], replace(first.job, config=replace(first.job.config, restart=True)))])
    repeated.say_how_to_continue()
    assert capsys.readouterr().err.endswith("to resume, repeat the command without restart=true\n")


def test_a_run_that_another_program_was_at_and_has_finished_has_not_failed(tmp_path: Path) -> None:
    runs, launcher = plan(tmp_path), StudyLauncher(DictConfig({}), is_study=False)
    launcher.study = Study(hydra())
    in_use = JobReturn(status=JobStatus.FAILED)
    in_use.return_value = UserError("in use")

    def run(missing: Sequence[PlannedRun], start: Callable[[Sequence[PlannedRun]], None], _: object) -> None:
        start(missing)
        for one in missing[:2]:
            leave(one, "finished")

    launcher.study.run = run  # type: ignore[method-assign, assignment]
    launcher.launcher = SimpleNamespace(launch=lambda jobs, **_: [in_use] * len(jobs))
    launcher._planned = lambda _: runs  # type: ignore[method-assign]
    ends = [one.status for one in launcher.launch([], 0)]
    assert ends == [JobStatus.COMPLETED, JobStatus.COMPLETED, JobStatus.FAILED]


def test_failed_runs_are_told_apart_and_those_that_diverged_are_not_repeated(tmp_path: Path) -> None:
    runs, study = plan(tmp_path), Study(hydra())
    for run, rate in zip(runs, (0.1, 1.0, 2.0), strict=True):
        run.overrides, run.name = ["seed=0", f"optimizer.lr={rate}"], "baseline seed 0"
    study.begin(runs)
    leave(runs[0], "finished")
    for run in runs[1:]:
        leave(run, "failed", f"UserError: {DIVERGED} in epoch 1")
    with pytest.raises(
        UserError, match=r"seed 0 optimizer.lr=1.0 \(diverged\), baseline seed 0 optimizer.lr=2"
    ) as told:
        study.check_all_finished()
    assert "lower its optimizer.lr" in str(told.value) and "does the rest" not in str(told.value)


def test_a_comparison_says_how_many_runs_of_the_folder_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared: list[Path] = []
    monkeypatch.setattr("alexnet.study.report.report.report", lambda paths, **_: compared.extend(paths))
    runs, study = plan(tmp_path), Study(hydra())
    leave(runs[0], "interrupted")
    study.begin(runs[:1])
    study.compare()
    assert compared == []  # an earlier comparison is not replaced by one of nothing
    for run in runs:
        leave(run, "finished")
    study.compare()
    assert compared == [runs[0].directory]
    said = capsys.readouterr().out.replace("\n", " ")
    assert f"note: 2 other runs in {tmp_path} are left out; to compare all:   alexnet report {tmp_path}" in said
    study.begin(runs)
    study.compare()
    assert "left out" not in capsys.readouterr().out


def test_an_error_between_two_batches_of_a_search_is_not_swallowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of the sweeper's own, or of jobs that are refused: every run that has begun is finished."""
    runs, sweeper = plan(tmp_path), StudySweeper()
    sweeper.study, sweeper.folder, sweeper.arguments = Study(hydra()), tmp_path, []
    monkeypatch.setattr(sweeper.study, "compare", lambda: None)

    def sweep(_: list[str]) -> None:
        for run in sweeper.study.begin(runs[:2]):
            leave(run, "finished")
        raise UserError("no further batch")

    sweeper.sweeper = SimpleNamespace(sweep=sweep)  # type: ignore[assignment]
    with pytest.raises(UserError, match="no further batch"):
        sweeper.sweep([])
    (tmp_path / "multirun.yaml").symlink_to("elsewhere")  # which Hydra would write to
    with pytest.raises(UserError, match=r"multirun\.yaml: a symbolic link"):
        sweeper.sweep([])


def test_a_study_refuses_to_be_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    started = list[Sequence[PlannedRun]]()
    with pytest.raises(UserError, match="a sweep is one process, and 2 were started"):
        Study(hydra()).run(plan(tmp_path), started.append, lambda *_: started.clear)
    assert started == []


def test_a_search_minimizes_the_validation_error(tmp_path: Path) -> None:
    first = plan(tmp_path)[0]
    assert first.objective is None
    leave(first, "finished")
    outcome = first.outcome
    assert outcome is not None and first.objective == 100 * outcome.errors["test"]["ten_crop"].top1


def test_refuse_shows_each_mistake_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"^c \(1 of 4 jobs\); nothing was started"):
        refuse(["b", "b", None, "c"])
    assert capsys.readouterr().err == "error: b (2 of 4 jobs)\n"
    with pytest.raises(UserError, match=r"^x; nothing"):
        refuse(["x", "x"])
    refuse([None])


@pytest.mark.parametrize(
    ("launcher", "n_jobs", "expected"),
    [("basic", 0, 1), ("joblib", 3, 3), ("joblib", -1, 4), ("joblib", -2, 3), ("submitit_local", 0, None)],
)
def test_max_parallel_jobs_is_the_launcher_s(
    launcher: str, n_jobs: int, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joblib counts the processors of the container, not those of the machine around it."""
    monkeypatch.setattr("alexnet.sweep.study.available_cpus", lambda: 4)
    assert max_parallel_jobs(hydra(launcher, n_jobs=n_jobs)) == expected
