"""The schema of a run: the groups of `alexnet.config.values` together, the claims, and what contradicts what."""

from collections.abc import Iterable
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from alexnet.config import values
from alexnet.config.fields import ADDED_LATER, MISSING, Group, limited, problem, require

CIFAR_NORMALIZED = (1, 2)
"""Convolutions of the CIFAR-10 nets that can be normalized."""

DOWNLOADS = {
    "cifar10": "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    "tiny_imagenet": "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
}
"""Addresses of the sets that anyone may download, by `data.name`."""


@dataclass
class Errors(Group):
    """A pair of errors in percent, or of differences of errors in percentage points; None if unknown."""

    top1: float | None = None
    top5: float | None = None


RELATIONS = ("equals", "about", "at_least", "range", "no_effect", "not_worse", "worse", "better")
"""How a claim limits the rise of the error: `docs/statistics.md` gives the region of each."""


@dataclass
class Effect(Errors):
    """The rise of the error, in percentage points, that a source gives for an ablation."""

    relation: str = limited("equals", choices=RELATIONS, **ADDED_LATER)
    unit: float = limited(0.1, gt=0, **ADDED_LATER)  # what the number is rounded to; twice that for a difference of two
    up_to: Errors = field(default_factory=Errors, metadata=ADDED_LATER)  # the upper end of a `range`
    experiments: list[str] = field(default_factory=list, metadata=ADDED_LATER)  # with the source's data and recipe
    recipes: list[str] = field(default_factory=list, metadata=ADDED_LATER)  # of those that it is judged in; empty: all
    images: int | None = limited(None, gt=0, **ADDED_LATER)  # test images of the published runs
    of: str | None = field(default=None, metadata=ADDED_LATER)  # which runs the number is a difference of

    @property
    def needs_margin(self) -> bool:
        """Whether the claim is that there is no effect, or none for the worse, beyond a margin."""
        return self.relation in ("no_effect", "not_worse")


MEASURED = ("gap", "training_error", "epochs_to_error", "epochs_to_loss")
"""What a claim in words can be measured by: `docs/claims.md` explains each."""


@dataclass
class Claim(Group):
    """What the paper and its authors' log say about one ablation."""

    title: str = MISSING
    section: str = MISSING  # of the paper; `log` or `source` if only the authors' log or released code speaks of it
    statement: str = MISSING  # in our words
    paper: Effect = field(default_factory=Effect)
    log: Effect = field(default_factory=Effect)
    margin: Errors = field(default_factory=Errors, metadata=ADDED_LATER)  # points up to which there is no effect
    rate: str = limited("shared", choices=("shared", "own"), **ADDED_LATER)  # at which the claim is judged
    measures: dict[str, str] = limited(
        {}, choices=("rises", "falls"), **ADDED_LATER
    )  # what it says of some of `MEASURED`
    measurable: str | None = field(default=None, metadata=ADDED_LATER)  # what a claim in words is measured by, and why

    def check_relations(self) -> None:
        for name in self.measures:
            require(name in MEASURED, f"{self.title}: measures.{name} is not one of: {', '.join(MEASURED)}")
        for measure in ("top1", "top5"):
            margin = getattr(self.margin, measure)
            fits = margin is None or 0 <= margin <= 100
            require(fits, f"{self.title}: margin.{measure}={margin} is not between 0 and 100 points")
            for effect in (self.paper, self.log):
                low, high = getattr(effect, measure), getattr(effect.up_to, measure)
                require(None in (low, high) or low <= high, f"{self.title}: up_to.{measure}={high} is below {low}")
        for effect in (self.paper, self.log):
            needed = {"margin": self.margin} if effect.needs_margin else {}
            needed |= {"up_to": effect.up_to} if effect.relation == "range" else {}
            for name, given in needed.items():
                known = (given.top1, given.top5) != (None, None)
                require(known, f"{self.title}: relation={effect.relation} needs {name}, such as {name}.top1=0.3")


@dataclass
class Target(Group):
    """Absolute errors to compare a baseline with, in percent."""

    paper: Errors = field(default_factory=Errors)
    log: Errors = field(default_factory=Errors)


@dataclass
class Config(Group):
    """One run, completely."""

    recipe: str = MISSING
    experiment: str = MISSING
    seed: int = limited(ge=0, lt=2**31)
    architecture: values.ArchitectureConfig = field(default_factory=values.ArchitectureConfig)
    scale: values.ScaleConfig = MISSING
    columns: values.ColumnsConfig = MISSING
    lrn: values.LrnConfig = MISSING
    within_channel_lrn: values.WithinChannelLrnConfig = field(default_factory=values.WithinChannelLrnConfig)
    relu_position: values.ReluPositionConfig = field(default_factory=values.ReluPositionConfig)
    pooling: values.PoolingConfig = MISSING
    activation: values.ActivationConfig = MISSING
    dropout: values.DropoutConfig = MISSING
    depth: values.DepthConfig = MISSING
    classifier: values.ClassifierConfig = field(default_factory=values.ClassifierConfig)
    init: values.InitConfig = MISSING
    pretrained: values.PretrainedConfig = field(default_factory=values.PretrainedConfig)
    crops: values.CropsConfig = MISSING
    color: values.ColorConfig = MISSING
    shuffle: values.ShuffleConfig = field(default_factory=values.ShuffleConfig)
    optimizer: values.OptimizerConfig = MISSING
    schedule: values.ScheduleConfig = MISSING
    late_changes: values.LateChangesConfig = field(default_factory=values.LateChangesConfig)
    data: values.DataConfig = MISSING
    hardware: values.HardwareConfig = MISSING
    devices: values.DevicesConfig = field(default_factory=values.DevicesConfig)
    trainer: values.TrainerConfig = field(default_factory=values.TrainerConfig)
    logger: values.LoggersConfig = field(default_factory=values.LoggersConfig)
    study: values.StudyConfig = field(default_factory=values.StudyConfig)
    target: Target = field(default_factory=Target)  # the paper's own errors, if the experiment is one of the paper's
    ablations: dict[str, Claim] = field(default_factory=dict)  # the claims under test; each ablation adds its own
    runs: str = "runs"  # folder of run directories
    restart: bool = False  # start over even if this run was begun or finished before

    def __post_init__(self) -> None:
        self.check()
        self.schedule.rescale()

    def check_relations(self) -> None:
        late = self.late_changes
        clips_norm = self.trainer.gradient_clip_val is not None and self.trainer.gradient_clip_algorithm == "norm"
        require(
            not (clips_norm and self.devices.model_parallel),
            "trainer.gradient_clip_val: no device of devices=model_parallel holds the whole gradient, whose norm is to"
            " be clipped; choose devices=single or trainer.gradient_clip_algorithm=value",
        )
        require(
            self.schedule.kind == "multistep" or not late.names_epochs,
            f"late_changes.of_epochs={late.of_epochs}: late changes need a schedule of fixed epochs, such as"
            " schedule=log_2012",
        )
        if self.architecture.name == values.ALEXNET:
            return
        fixed = {
            "columns=one": self.columns.kind == "one",
            "dropout=none": not self.dropout.layers,
            "depth=five": not self.depth.remove and not self.depth.sixth_conv,
            "lrn.after_pooling=false": not self.lrn.after_pooling,
            "relu_position.after_pooling=[]": not self.relu_position.after_pooling,
            "within_channel_lrn.layers=[]": not self.within_channel_lrn.layers,
            "classifier.bottleneck=false": not self.classifier.bottleneck,
        }
        name = f"architecture={self.architecture.name}"
        wanted = " ".join(choice for choice, holds in fixed.items() if not holds)
        require(not wanted, f"{name} has one column, no dropout and fixed layers: add {wanted}")
        wrong = problem(self.lrn.layers, layers=CIFAR_NORMALIZED)
        require(wrong is None, f"lrn.layers={self.lrn.layers} of {name}: {wrong}")

    @property
    def starts_over(self) -> bool:
        """Whether a result from before is not to be shown again."""
        return self.restart or bool(self.trainer.fast_dev_run)

    def late_epoch(self, epoch: int) -> int:
        """Return the epoch of this run that corresponds to one in `late_changes`."""
        return values.scaled_epoch(epoch, of=self.late_changes.of_epochs, to=self.schedule.epochs)

    def color_is_on(self, epoch: int) -> bool:
        """Whether training images get their PCA color augmentation in this epoch; the 2012 source ends it late."""
        return self.late_changes.color_off_epoch is None or epoch < self.late_epoch(self.late_changes.color_off_epoch)


ConfigTree = dict[str, Any]
"""A configuration as plain nested dicts, lists, numbers and strings."""

NON_IDENTITY_KEYS = (
    *("runs", "restart", "hardware", "devices", "logger", "wandb", "target", "study", "data.packs"),
    *(f"trainer.{name}" for name in ("fast_dev_run", "profiler", "detect_anomaly", "log_every_n_steps")),
)
"""Keys that say where or how a run computes, not what: they are no part of its identity.
`wandb` is what checkpoints from before `logger` say."""


@cache
def schema_defaults(node: Any = Config, prefix: str = "") -> dict[str, Any]:
    """Return the schema's default of each dotted key that has one; callers must not change it."""
    hints = get_type_hints(node)
    defaults: dict[str, Any] = {}
    for entry in fields(node):
        key = prefix + entry.name
        if is_dataclass(hints[entry.name]):
            defaults |= schema_defaults(hints[entry.name], f"{key}.")
        else:
            factory = entry.default_factory
            defaults[key] = entry.default if factory is NO_DEFAULT else factory()
    return {key: default for key, default in defaults.items() if default != MISSING}


LONGEST_ABLATION = 80
"""Characters of a run's ablation that its directory is named after: names of files end at 255, W&B's ids at 128."""
BASELINE = "baseline"
"""What runs without an ablation are called."""


def run_label(experiment: str, ablation: str, seed: int) -> str:
    """Return the readable part of a run's name, which a digest follows."""
    return f"{experiment}-{ablation[:LONGEST_ABLATION]}-seed{seed}"


def flatten(tree: ConfigTree, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as dotted keys; lists and empty dicts are values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return flat


def without(flat: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Leave out some dotted keys, and what lies below them."""
    return {key: value for key, value in flat.items() if not is_part_of(key, keys)}


def is_part_of(key: str, keys: Iterable[str]) -> bool:
    """Whether a dotted key is one of some others or lies below it."""
    return any(key == one or key.startswith(f"{one}.") for one in keys)
