"""Golden traces: what runs compute, bit for bit, recorded so that a change that should move no number is seen to.

python tests/golden/record.py                               record this checkout's numbers for the machine at hand
python tests/golden/record.py --project DIR --python PY     those of another checkout, with another environment
python tests/golden/record.py --project DIR --check         compare instead: equal or different, and from which step on
python tests/golden/record.py --check --cases baseline reports

Rounding depends on the processor, on torch and on the number of threads, so there is a trace for each of these.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TRACES = HERE / "traces"

SMALL = (
    "data.shapes.train_per_class=20",  # 13 updates an epoch, the last of 16 images
    "data.shapes.val_per_class=2",
    "data.shapes.test_per_class=3",
    "optimizer.batch_size=32",
    "schedule.epochs=3",
    "schedule.milestones=[2]",
)
CIFAR_10 = (*SMALL, "data=shapes")  # drawn images of 32 x 32 pixels in place of the photographs
EVERYWHERE = ("logger.wandb.mode=disabled", "hardware.accelerator=cpu", "hardware.progress_bar=false")
STOPS = (
    {"at": 7, "by": "sigterm"},  # in the first epoch, which goes on from there
    {"at": 11, "by": "ctrl_c"},  # five updates into the second, which starts over
)

RUNS: dict[str, tuple[str, ...]] = {
    "baseline": SMALL,
    "one_column": (*SMALL, "+ablation=one_column"),
    "isolated_columns": (*SMALL, "+ablation=isolated_columns"),
    "no_lrn": (*SMALL, "+ablation=no_lrn"),
    "no_dropout": (*SMALL, "+ablation=no_dropout"),
    "no_overlap": (*SMALL, "+ablation=no_overlap"),
    "tanh": (*SMALL, "+ablation=tanh"),
    "conv6": (*SMALL, "+ablation=conv6"),
    "plain_images": (*SMALL, "+ablation=[no_color,no_crops_flips]"),
    "source_2012": (*SMALL, "recipe=source_2012"),  # conv1 frozen and colors off from the last epoch on
    "plateau": (*SMALL, "schedule=plateau", "schedule.epochs=5", "schedule.milestones=[]", "schedule.patience=1"),
    "jpeg": (*SMALL, "data.encoding=jpeg"),
    "bfloat16": (*SMALL, "hardware.precision=bf16-mixed"),
    "stopped": SMALL,
    "cifar10_small": (*CIFAR_10, "experiment=cifar10"),
    "cifar10_figure1": (*CIFAR_10, "experiment=figure1", "schedule.stop_at_train_error=null"),  # cifar_19pct
    "cifar10_80sec": (
        *(*CIFAR_10, "experiment=figure1", "schedule.stop_at_train_error=null"),
        *("architecture=cifar_80sec", "optimizer=cifar_80sec"),
    ),
    "cifar10_13pct": (*CIFAR_10, "experiment=cifar10_normalization"),
    "cifar10_norm_clean": (*CIFAR_10, "experiment=cifar10_normalization", "+ablation=cifar10/norm_clean"),
    "cifar10_11pct": (*CIFAR_10, "experiment=cifar10_normalization", "+ablation=cifar10/norm_published"),
    "two_processes": (*SMALL, "devices=ddp", "devices.replicas=2"),
    "two_devices": (*SMALL, "devices=model_parallel"),
    "demo": (),
}
FORMERLY = {
    "data.encoding=jpeg": "+data.encoding=jpeg",
    "devices=ddp": "trainer=ddp",
    "devices.replicas": "trainer.replicas",
    "devices=model_parallel": "placement=two_devices",
    "experiment=cifar10_normalization": "experiment=cifar10_normalisation",
    "schedule.milestones": "schedule.drops",
    "schedule.stop_at_train_error": "schedule.until_train_error",
    "logger.wandb.mode=disabled": "wandb=disabled",
}
"""Choices and keys under the names that they had before there was a folder `conf/devices`, when the first traces were
recorded."""
THREADS = dict.fromkeys(RUNS, (1, 2)) | {"demo": (2,), "two_devices": (1,)}

PACKS = {
    f"pack_{source}_{encoding}": (source, encoding)
    for source in ("folder", "tar", "zip")
    for encoding in ("raw", "jpeg")
}
"""Packs of the images that `make_source` makes: where they lie, how they are encoded."""
REPORTS = "reports"
RESULT_FOLDERS = ("results", "ablations/results")
REPORT_COMMANDS = {"figure1": "figure1"}
"""The command that makes a study's tables, where it is not `report`."""
CASES = (*RUNS, *PACKS, REPORTS)

TOLERANCES = (1e-5, 1e-5, 1e-4, 1e-3, 1e-3)
"""Relative, of the first losses, where a machine has no trace of its own. Between one thread and two, or AVX-512 and
AVX2, rounding makes at most 2e-7, 1e-7, 1e-5, 9e-5 and 2e-4 of a difference (`no_dropout`), and later any. A dropout
probability of 0.49 in place of 0.5 changes the very first loss by 7e-4."""
COARSE = {"bfloat16": 100.0}
"""Cases with larger tolerances, and by which factor."""

Trace = dict[str, Any]


class MissingTrace(UserWarning):
    """This machine has no exact trace: only the first losses were compared, within a tolerance."""


@dataclass(frozen=True)
class Job:
    """One thing to do, and where its trace stands."""

    case: str
    threads: int
    plan: dict[str, Any] = field(hash=False)

    @property
    def title(self) -> str:
        return f"{self.case}, {self.threads} thread{'s' * (self.threads > 1)}"


@dataclass(frozen=True)
class Outcome:
    """What a job computed, on which machine; or why it failed."""

    job: Job
    machine: dict[str, str]
    figures: Trace
    failed: str | None
    cpu_seconds: float


def runs_of(project: Path, work: Path, cases: list[str], threads: tuple[int, ...]) -> list[Job]:
    """The jobs of some cases; their files go into `work`."""
    jobs = [_run(project, work, case, count) for case in cases if case in RUNS for count in THREADS[case]]
    packs = [_pack(project, work, case) for case in cases if case in PACKS]
    return [job for job in [*jobs, *packs] if job.threads in threads]


def _run(project: Path, work: Path, case: str, threads: int) -> Job:
    folder = work / f"{case}-{threads}"
    where = (f"runs={folder}", f"data.packs={work / 'packs'}", f"hardware.threads={threads}")
    arguments = [*spelled(project, [*RUNS[case], *EVERYWHERE]), *where]
    stops = [*STOPS, None] if case == "stopped" else [None]
    attempts = [{"kind": "train", "arguments": arguments, "stop": stop} for stop in stops]
    return Job(case, threads, {"attempts": attempts, "runs": str(folder), "log": f"{folder}.log"})


def spelled(project: Path, overrides: list[str]) -> list[str]:
    """Overrides in the words of a project that may be older than these."""
    return overrides if (project / "conf" / "devices").is_dir() else [_formerly(override) for override in overrides]


def _formerly(override: str) -> str:
    name, _, value = override.partition("=")
    return FORMERLY.get(override) or f"{FORMERLY.get(name, name)}={value}"


def _pack(project: Path, work: Path, case: str) -> Job:
    """Prepare a source, and train on the pack for 20 updates, which tells its fingerprint."""
    source, encoding = PACKS[case]
    pack, folder = work / f"{case}-prepared", work / f"{case}-1"
    arguments = [str(make_source(work, source)), str(pack), "--size", "64", "--encoding", encoding, "--workers", "1"]
    prepare = {"kind": "alexnet", "arguments": ["prepare", *arguments]}
    data = ("data=folder", f"data.root={pack}", f"runs={folder}", "hardware.threads=1")
    brief = ("schedule.epochs=2", "schedule.milestones=[]", "optimizer.batch_size=4")
    train = {"kind": "train", "arguments": [*data, *spelled(project, [*brief, *EVERYWHERE])]}
    plan = {"attempts": [prepare, train], "pack": str(pack), "runs": str(folder), "log": f"{folder}.log"}
    return Job(case, 1, plan)


def make_source(work: Path, kind: str) -> Path:
    """Five classes of noise of several shapes, some of it gray: a folder, or an archive of it."""
    folder = work / "images"
    if not folder.exists():
        _make_images(folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    archive = work / f"images.{kind}"
    if kind == "tar":
        with tarfile.open(archive, "w") as tar:
            for file in reversed(files):
                tar.add(file, str(file.relative_to(folder)))
    elif kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for file in reversed(files):
                zipped.write(file, str(file.relative_to(folder)))
    return folder if kind == "folder" else archive


def _make_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    drawn = np.random.default_rng(2012)
    shapes = ((80, 100, 3), (64, 64, 3), (150, 90, 3), (40, 50), (30, 70, 3), (200, 64), (65, 64, 3), (128, 128, 3))
    for split, count in (("train", 8), ("val", 2), ("test", 2)):
        for name in "abcde":
            (folder / split / name).mkdir(parents=True)
            for number, shape in enumerate(shapes[:count]):
                pixels = drawn.integers(0, 256, (shape[0] // 8 + 1, shape[1] // 8 + 1, *shape[2:]), np.uint8)
                size = (shape[1], shape[0])
                Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(
                    folder / split / name / f"{number}.png"
                )


def execute(project: Path, python: str, work: Path, jobs: list[Job]) -> Iterator[Outcome]:
    """Do the jobs in one process and its forks."""
    plan_file, results_file = work / "plan.json", work / "results.jsonl"
    results_file.unlink(missing_ok=True)
    plan = [{"name": job.title} | job.plan for job in jobs]
    plan_file.write_text(json.dumps({"project": str(project), "jobs": plan}), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = str(project / "src")
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # on a busy machine threads that spin take six times as long
    # Not as a module of a package: Python would look for the project's own packages here first.
    driver = [python, "-P", str(HERE / "driver.py"), str(plan_file), str(results_file)]
    with subprocess.Popen(driver, env=environment, stdin=subprocess.DEVNULL) as process:
        yield from _outcomes(process, results_file, jobs)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(driver)} ended with {process.returncode}")


def _outcomes(process: "subprocess.Popen[bytes]", results_file: Path, jobs: list[Job]) -> Iterator[Outcome]:
    """One for each job, as they come."""
    done = 0
    while done < len(jobs):
        ended = process.poll() is not None
        lines = results_file.read_text(encoding="utf-8").splitlines(keepends=True) if results_file.exists() else []
        for line in lines[done:]:
            if line.endswith("\n"):
                yield _outcome(jobs[done], json.loads(line))
                done += 1
        if ended and done < len(jobs):
            return
        if not ended:
            _wait(process)


def _wait(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(timeout=0.5)
    except subprocess.TimeoutExpired:
        return


def _outcome(job: Job, result: dict[str, Any]) -> Outcome:
    failed, cpu_seconds = result.get("failed"), result.get("cpu_seconds", 0.0)
    return Outcome(job, result["machine"], result.get("figures", {}), failed, cpu_seconds)


def reports(project: Path, python: str, work: Path) -> dict[str, dict[str, str]]:
    """Study -> CSV file -> its hash, for every committed study, and whether the committed file is the same.

    A planned study without tables is under way.
    """
    results = next(project / name for name in RESULT_FOLDERS if (project / name).is_dir())
    made = [folder for folder in results.iterdir() if (folder / "runs").is_dir()]
    studies = sorted(
        one.name for one in made if (one / "comparison.csv").is_file() or not (one / "plan.yaml").is_file()
    )
    jobs = []
    for study in studies:
        copy = work / "studies" / study
        shutil.copytree(results / study / "runs", copy / "runs")
        arguments = [REPORT_COMMANDS.get(study, "report"), str(copy / "runs"), "--output", str(copy / "tables")]
        attempts = [{"kind": "alexnet", "arguments": arguments}]
        jobs.append(Job(study, 1, {"attempts": attempts, "log": str(copy / "log")}))
    for outcome in execute(project, python, work, jobs):
        if outcome.failed is not None:
            print(f"the report of {outcome.job.case} failed\n{outcome.failed}")
    for study in studies:
        _tell_of_differences(results / study, work / "studies" / study / "tables")
    return {study: _hashes(work / "studies" / study / "tables") for study in studies}


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.glob("*.csv"))}


def _tell_of_differences(committed: Path, made: Path) -> None:
    for file in sorted(made.glob("*.csv")):
        other = committed / file.name
        if other.exists() and other.read_bytes() != file.read_bytes():
            print(f"{committed.name}/{file.name}: the committed file is another than the one made now")


def read_trace(case: str) -> dict[str, Any]:
    """What is recorded of a case, by machine; of the reports, by study."""
    file = TRACES / f"{case}.json"
    recorded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return recorded


def write_trace(case: str, recorded: dict[str, Any]) -> None:
    """One line for each figure, so that a difference can be read."""
    TRACES.mkdir(exist_ok=True)
    (TRACES / f"{case}.json").write_text(_lines(recorded, levels=3) + "\n", encoding="utf-8")


def _lines(value: Any, *, levels: int, indent: str = "") -> str:
    """JSON whose outer levels have a line for each entry."""
    if levels == 0 or not isinstance(value, dict) or not value:
        return json.dumps(value, sort_keys=True, separators=(", ", ": "))
    inner = indent + " "
    texts = {key: _lines(value[key], levels=levels - 1, indent=inner) for key in sorted(value)}
    entries = (f"{inner}{json.dumps(key)}: {text}" for key, text in texts.items())
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"


def keep(outcome: Outcome) -> None:
    """Record an outcome for this machine and number of threads."""
    recorded = read_trace(outcome.job.case)
    mine = recorded.setdefault(outcome.machine["key"], {})
    mine[str(outcome.job.threads)] = outcome.figures
    write_trace(outcome.job.case, recorded)


def exact_trace(outcome: Outcome) -> Trace | None:
    """What is recorded for the machine that the outcome is of, by code of the same NUMERICS."""
    return _of_its_numerics(read_trace(outcome.job.case).get(outcome.machine["key"], {}), outcome)


def _of_its_numerics(machine: dict[str, Trace], outcome: Outcome) -> Trace | None:
    trace = machine.get(str(outcome.job.threads))
    return trace if trace and trace["numerics"] == outcome.figures.get("numerics") else None


def other_trace(outcome: Outcome) -> Trace | None:
    """What is recorded for some other machine, which draws the same numbers and rounds otherwise."""
    machines = read_trace(outcome.job.case).values()
    return next((trace for machine in machines if (trace := _of_its_numerics(machine, outcome))), None)


def differences(found: Trace, expected: Trace) -> list[str]:
    """In words, the first step at which the losses differ, then everything else that is not the same."""
    told: list[str] = list(_first_different_loss(found.get("losses", []), expected.get("losses", [])))
    for name in sorted(set(found) | set(expected) - {"losses"}):
        mine, theirs = found.get(name), expected.get(name)
        if name == "losses" or mine == theirs:
            continue
        if isinstance(mine, list) and isinstance(theirs, list) and name == "metrics":
            pairs = zip(mine, theirs, strict=False)
            told.append(next((f"metrics: {a} instead of {b}" for a, b in pairs if a != b), "metrics: other epochs"))
        else:
            told.append(f"{name}: {mine} instead of {theirs}")
    return told


def _first_different_loss(found: list[list[float]], expected: list[list[float]]) -> Iterator[str]:
    if [len(losses) for losses in found] != [len(losses) for losses in expected]:
        yield f"losses: {[len(losses) for losses in found]} of them instead of {[len(losses) for losses in expected]}"
    for attempt, (mine, theirs) in enumerate(zip(found, expected, strict=False)):
        for step, (a, b) in enumerate(zip(mine, theirs, strict=False)):
            if a != b:
                yield f"losses: first at step {step} of attempt {attempt}, {a!r} instead of {b!r}"
                return


def relative_differences(found: Trace, expected: Trace) -> list[float]:
    """How far the first losses of the first attempt are from the expected ones; none where they are not seen."""
    mine, theirs = (trace["losses"][0] if trace["losses"] else [] for trace in (found, expected))
    pairs = zip(mine, theirs, TOLERANCES, strict=False)
    return [abs(a - b) / abs(b) for a, b, _ in pairs]


def check(outcome: Outcome) -> tuple[bool, str]:
    """Whether an outcome is what was recorded, and in words."""
    if outcome.failed is not None:
        return False, f"failed\n{outcome.failed}"
    if (exact := exact_trace(outcome)) is not None:
        changes = differences(outcome.figures, exact)
        moved = f"different, but NUMERICS is still {exact['numerics']} (src/alexnet/config/identity.py)"
        return not changes, "\n  ".join([moved, *changes]) if changes else "equal"
    if (other := other_trace(outcome)) is None:
        numerics = f"NUMERICS {outcome.figures['numerics']}"
        return True, f"nothing of {numerics} to compare with for {outcome.machine['key']}: record again"
    factor = COARSE.get(outcome.job.case, 1.0)
    found = relative_differences(outcome.figures, other)
    close = all(one <= factor * limit for one, limit in zip(found, TOLERANCES, strict=False))
    words = " ".join(f"{one:.0e}" for one in found) or "not seen"
    told = f"no exact trace for {outcome.machine['key']}; first losses off by {words}"
    return close, f"{'close' if close else 'different'}: {told}"


def main() -> int:
    """Record or check; the exit status is 1 where something differs."""
    options = _options()
    project = options.project.resolve()
    if not set(options.cases) <= set(CASES):
        sys.exit(f"the cases are {', '.join(CASES)}")
    same = True
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        work = Path(folder)
        for outcome in execute(project, options.python, work, runs_of(project, work, options.cases, options.threads)):
            same &= _report(outcome, only_check=options.check)
        if REPORTS in options.cases:
            same &= _report_studies(reports(project, options.python, work), only_check=options.check)
    return 0 if same else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, default=HERE.parent.parent, help="checkout (default: this one)")
    parser.add_argument("--python", default=sys.executable, help="of the environment that runs it (default: this one)")
    parser.add_argument("--check", action="store_true", help="compare with what is recorded")
    parser.add_argument("--cases", nargs="+", default=list(CASES), help="some of them (default: all)", metavar="CASE")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2), help="of 1 and 2 (default: both)")
    return parser.parse_args()


def _report(outcome: Outcome, *, only_check: bool) -> bool:
    if only_check:
        same, told = check(outcome)
    else:
        same = outcome.failed is None
        told = "recorded" if same else f"failed\n{outcome.failed}"
        if same:
            keep(outcome)
    print(f"{outcome.job.title}: {told} ({outcome.cpu_seconds:.0f} s)", flush=True)
    return same


def _report_studies(found: dict[str, dict[str, str]], *, only_check: bool) -> bool:
    if not only_check:
        write_trace(REPORTS, found)
        print("reports: recorded")
        return True
    expected = read_trace(REPORTS)
    different = sorted(study for study in {*found, *expected} if found.get(study) != expected.get(study))
    print(f"reports: {'different: ' + ', '.join(different) if different else 'equal'}")
    return not different


if __name__ == "__main__":
    sys.exit(main())
