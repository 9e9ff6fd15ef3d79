"""`result.json`: what a run was, how it ended, and its errors.

A report is made from this file and `predictions.npz`, elsewhere too, from copied run directories. `metrics.csv`,
`first_layer.npz` and `config.yaml` add curves, kernels and Figure 1 where they are there. `docs/result-files.md` lists
every field.
"""

import hashlib
import json
import os
import shlex
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from alexnet.config.fields import ADDED_LATER
from alexnet.config.schema import RELATIONS, Claim, Target, run_label
from alexnet.errors import MEND, START_OVER, RefusedError, UserError
from alexnet.files import replace_file
from alexnet.runs.directory import CONFIG_FILE, FIRST_LAYER_FILE, METRICS_FILE, PREDICTIONS_FILE, RESULT_FILE
from alexnet.runs.study_plan import BASELINE as BASELINE
from alexnet.runs.study_plan import Plan
from alexnet.untrusted import MIB, FieldError, damage_named, decode, file_sha256, parse_json, read_regular, require

SCHEMA_VERSION = 1
LARGEST = MIB
CHECKSUM = "checksum"
"""In `result.json` alone: the SHA-256 of everything else in it."""
CHECKED_FILES = (CONFIG_FILE, METRICS_FILE, PREDICTIONS_FILE, FIRST_LAYER_FILE)
"""Files that a report shows, and that do not change once the run is finished."""
LARGEST_COUNT = 10**15
DIVERGED = "training diverged"
"""In the message of a run whose loss or outputs were no longer finite."""
UNFINISHED_MESSAGE = "still running, or stopped without a word; repeat the command to continue"
Status = Literal["finished", "failed", "interrupted"]
Changes = dict[str, tuple[Any, Any]]
"""By an ablation: dotted key -> (value in the baseline, value in the run)."""


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Which images a run saw."""

    name: str
    fingerprint: str
    classes: int
    images: dict[str, int]
    """Images per split."""

    def __post_init__(self) -> None:
        for name, count in {"classes": self.classes, **{f"images.{k}": n for k, n in self.images.items()}}.items():
            require(0 <= count <= LARGEST_COUNT, name, f"{count} is not a count")


@dataclass(frozen=True, kw_only=True)
class ErrorRates:
    """Errors over one split and view, as fractions of its images."""

    images: int
    top1: float
    top5: float | None
    """None among fewer than five classes."""

    def __post_init__(self) -> None:
        require(self.images >= 1, "images", f"{self.images} is not a count of images")
        for name, rate in (("top1", self.top1), ("top5", self.top5)):
            require(rate is None or 0 <= rate <= 1, name, f"{rate} is not a fraction between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class LrDrop:
    """The learning rate from the start of an epoch (counted from 0) on."""

    epoch: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Energy:
    """What training took by the counters of the machine, in joules; None where they were not read."""

    cpu_joules: float | None = None
    gpu_joules: float | None = None
    """None without a GPU, too."""
    source: str
    """Where each is from and what else it counts, or why it was not read."""


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """How long training took and what it did."""

    epochs: int
    steps: int
    seconds: float
    images_per_second: float
    rate_drops: tuple[LrDrop, ...]
    device_hours: float | None = field(default=None, metadata=ADDED_LATER)
    """Devices times hours, from the first step to the last with validation; None where it was not noted yet."""
    energy: Energy | None = field(default=None, metadata=ADDED_LATER)
    """Of the same time; None where it was not noted yet."""

    def __post_init__(self) -> None:
        for name, count in (("epochs", self.epochs), ("steps", self.steps)):
            require(0 <= count <= LARGEST_COUNT, name, f"{count} is not a count")


@dataclass(frozen=True, kw_only=True)
class GitState:
    """The code that ran; `dirty` if it differed from the revision."""

    revision: str
    """Empty if git refused to say."""
    dirty: bool
    problem: str | None = field(default=None, metadata=ADDED_LATER)
    """Why the revision is not known."""


@dataclass(frozen=True, kw_only=True)
class PretrainedFacts:
    """The weights that a run started from."""

    run: str
    """The run that they come from, or their file where that lies outside of a run."""
    data_fingerprint: str
    """Of the images that they were trained on."""
    weights: str
    """Hash of all of them."""
    taken: tuple[str, ...]
    """Layers that started from them."""
    fresh: tuple[str, ...]
    """Layers that were drawn all the same."""
    left_behind: tuple[str, ...]
    """Layers that this run's net does not have."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything in `result.json`."""

    schema_version: int = SCHEMA_VERSION
    status: Status
    message: str | None
    """Why the run failed or was interrupted, in one line; None when it finished."""
    run: str
    ablation: str
    """`baseline`, or the names of the ablations joined by `+`."""
    recipe: str
    experiment: str
    seed: int
    pairing_key: str
    """Hash of the configuration with the ablation's changes undone and the seed left out."""
    changes: Changes
    """Dotted configuration key -> value in the baseline, value in this run."""
    claims: dict[str, Claim]
    target: Target
    data: DataFacts
    errors: dict[str, dict[str, ErrorRates]]
    """Split -> view -> errors; empty unless the run finished."""
    training: TrainingFacts | None
    parameters: int
    versions: dict[str, str]
    device: str
    git: GitState | None
    command: str
    """The command that makes this run, quoted for a shell."""
    pretrained: PretrainedFacts | None = field(default=None, metadata=ADDED_LATER)
    """None where every weight was drawn."""
    precision: str | None = field(default=None, metadata=ADDED_LATER)
    """`hardware.precision`; None where it was not noted yet."""
    files: dict[str, str] = field(default_factory=dict, compare=False, metadata=ADDED_LATER)
    """SHA-256 of `CHECKED_FILES` as the finished run left them; empty for others."""
    plan: Plan | None = field(default=None, metadata=ADDED_LATER)
    """The plan that the run belongs to; None for a run without one."""
    numerics: int = field(default=0, metadata=ADDED_LATER)
    """`alexnet.config.identity.NUMERICS` of the code that computed it."""
    identity: str | None = field(default=None, metadata=ADDED_LATER)
    """Hash of all that the configuration computes; None where it was not noted yet."""
    lr: float | None = field(default=None, metadata=ADDED_LATER)
    """`optimizer.lr`, the initial learning rate; None where it was not noted yet."""
    environment: dict[str, str] = field(default_factory=dict, metadata=ADDED_LATER)
    """The machine and its settings, beside `versions` and `device`; empty where they were not noted yet."""

    def __post_init__(self) -> None:
        finished = self.status == "finished"
        require((self.message is None) == finished, "message", "a finished run has none, any other has one")
        require(bool(self.errors) == finished, "errors", "a finished run has some, any other has none")
        require(self.seed >= 0, "seed", f"{self.seed} is negative")
        require(self.seed < 2**64, "seed", "too large")
        require(0 <= self.parameters <= LARGEST_COUNT, "parameters", f"{self.parameters} is not a count")
        require(bool(self.ablation), "ablation", "empty")
        for name, claim in self.claims.items():
            for source in ("paper", "log"):
                relation = getattr(claim, source).relation
                known = f"{relation!r} is not one of: {', '.join(RELATIONS)}"
                require(relation in RELATIONS, f"claims.{name}.{source}.relation", known)
        try:
            shlex.split(self.command)
        except ValueError as error:
            raise FieldError("command", f"not a shell command: {error}") from None

    @property
    def overrides(self) -> list[str]:
        """The words of its command that set a value, or add one."""
        return [word for word in shlex.split(self.command) if "=" in word]

    @property
    def is_search(self) -> bool:
        """Whether it only helped to choose a learning rate: it has errors of held-out training images alone."""
        return self.plan is not None and self.plan.searches(self.seed)

    @property
    def ending(self) -> str:
        """How a run that has not finished ended, such as `failed: training diverged`, and its status once."""
        return f"{self.status}: {(self.message or '').removeprefix(f'{self.status} ')}"

    @property
    def diverged(self) -> bool:
        """Whether it ended because its loss or its outputs were no longer finite."""
        return self.status == "failed" and DIVERGED in (self.message or "")

    def has_other_precision(self, wanted: str) -> bool:
        """Return whether the run has a known, different precision, which is not part of its name."""
        return wanted != "auto" and self.precision not in (None, wanted)

    def write(self, directory: Path) -> None:
        """Write `result.json` into `directory`, complete or not at all."""
        kept = [name for name in CHECKED_FILES if self.status == "finished" and (directory / name).is_file()]
        facts = asdict(replace(self, files={name: file_sha256(directory / name) for name in kept}))
        text = json.dumps({**facts, CHECKSUM: _checksum(facts)}, indent=2, allow_nan=False)
        replace_file(directory / RESULT_FILE, f"{text}\n".encode())


def _checksum(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def read_result(directory: Path) -> Result:
    """Read and check `result.json`; UserError names the file and the field that is wrong."""
    return read_checked_result(directory)[0]


def read_checked_result(directory: Path) -> tuple[Result, bool]:
    """Read `result.json`, and tell whether it is as the run wrote it, as far as that can be known."""
    path = directory / RESULT_FILE
    with damage_named(path):
        content = read_regular(path, most=LARGEST)
        try:
            raw = parse_json(content)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not valid JSON: {error}") from None
        facts = raw if isinstance(raw, dict) else {}
        checksum, version = facts.pop(CHECKSUM, None), facts.get("schema_version", SCHEMA_VERSION)
        try:  # an unknown version is named before any field that differs because of it
            known = version == SCHEMA_VERSION
            require(known, "schema_version", f"{version!r} is unknown; this program reads {SCHEMA_VERSION}")
            result: Result = decode(Result, raw)
        except FieldError as error:
            raise UserError(f"{path}: {error}") from None
        return result, checksum in (None, _checksum(raw))


def refuse_other(path: Path, name: str, identity: str, found: str, found_identity: str | None) -> None:
    """Refuse a file of another run than the one of this name and identity.

    Raises:
        UserError: names both identities and what to do.
    """
    if found_identity != identity:
        what = f"{found} (identity {found_identity or 'unknown'}), not of {name} (identity {identity})"
        ways = "leave out hydra.run.dir, or give a directory of its own, or move that run away"
        raise UserError(f"{path} is of another run, {what}: {ways}")


def own_changes(changes: Changes) -> Changes:
    """Return what an ablation changes, whichever network it starts from: that may be its seed's."""
    return {key: values for key, values in changes.items() if key != "pretrained.checkpoint"}


def finished_run(directory: Path, name: str, identity: str, *, restart: bool) -> Result | None:
    """Return the result of a run if it has finished and is not to be restarted, and None otherwise.

    Raises:
        UserError: the directory holds the result of another run, or one that cannot be read.
    """
    if not os.path.lexists(directory / RESULT_FILE):
        return None
    try:
        result = read_result(directory)
    except UserError as error:
        if restart:
            return None
        remove = f"remove it to continue from the last checkpoint, or {START_OVER}"
        remedy = MEND if isinstance(error, RefusedError) else remove
        raise UserError(f"{error}; {remedy}") from error
    label = run_label(result.experiment, result.ablation, result.seed)
    is_told = label == name.rpartition("-")[0]  # a result may have been changed
    found = f"{label}, NUMERICS {result.numerics}"
    refuse_other(directory / RESULT_FILE, name, identity, found, result.identity if is_told else None)
    return result if result.status == "finished" and not restart else None
