"""The schema of a run: all groups of the configuration, what they must have in common, and its identity."""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from alexnet.config import groups
from alexnet.config.limits import MISSING, Group, limited, problem, require

CIFAR_NORMALIZED = (1, 2)
"""Convolutions of the CIFAR-10 nets that can be normalized."""


@dataclass(kw_only=True)
class Errors(Group):
    """A pair of errors in percent, or of differences of errors in percentage points; None if unknown."""

    top1: float | None = None
    top5: float | None = None


@dataclass(kw_only=True)
class Claim(Group):
    """What the paper and its authors' log say about one ablation."""

    title: str = MISSING
    section: str = MISSING
    """Section of the paper; `log` or `source` if only the authors' log, or their released code, speaks of it."""
    statement: str = MISSING
    """The claim in our words."""
    paper: Errors = field(default_factory=Errors)
    """Rise of the error that the paper gives, in percentage points."""
    log: Errors = field(default_factory=Errors)
    """Rise of the error in the authors' log, in percentage points."""


@dataclass(kw_only=True)
class Target(Group):
    """Absolute errors to compare a baseline with, in percent."""

    paper: Errors = field(default_factory=Errors)
    log: Errors = field(default_factory=Errors)


@dataclass(kw_only=True)
class Config(Group):
    """One run, completely."""

    recipe: str = MISSING
    experiment: str = MISSING
    seed: int = limited(ge=0, lt=2**31)
    architecture: groups.ArchitectureConfig = field(default_factory=groups.ArchitectureConfig)
    scale: groups.ScaleConfig = MISSING
    columns: groups.ColumnsConfig = MISSING
    lrn: groups.LrnConfig = MISSING
    within_channel_lrn: groups.WithinChannelLrnConfig = field(default_factory=groups.WithinChannelLrnConfig)
    relu_position: groups.ReluPositionConfig = field(default_factory=groups.ReluPositionConfig)
    pooling: groups.PoolingConfig = MISSING
    activation: groups.ActivationConfig = MISSING
    dropout: groups.DropoutConfig = MISSING
    depth: groups.DepthConfig = MISSING
    classifier: groups.ClassifierConfig = field(default_factory=groups.ClassifierConfig)
    init: groups.InitConfig = MISSING
    pretrained: groups.PretrainedConfig = field(default_factory=groups.PretrainedConfig)
    crops: groups.CropsConfig = MISSING
    color: groups.ColorConfig = MISSING
    shuffle: groups.ShuffleConfig = field(default_factory=groups.ShuffleConfig)
    optimizer: groups.OptimizerConfig = MISSING
    schedule: groups.ScheduleConfig = MISSING
    late_changes: groups.LateChangesConfig = field(default_factory=groups.LateChangesConfig)
    data: groups.DataConfig = MISSING
    hardware: groups.HardwareConfig = MISSING
    devices: groups.DevicesConfig = field(default_factory=groups.DevicesConfig)
    wandb: groups.WandbConfig = MISSING
    target: Target = field(default_factory=Target)
    """The paper's own errors, if the experiment is one of the paper's."""
    ablations: dict[str, Claim] = field(default_factory=dict)
    """The claims under test, by ablation; each chosen ablation adds its own."""
    runs: str = "runs"
    """Folder of run directories."""
    restart: bool = False
    """Start over even if this run was begun or finished before."""

    def __post_init__(self) -> None:
        self.check()
        self.schedule.rescale()

    def _check_relations(self) -> None:
        require(
            self.schedule.kind == "multistep" or not self.late_changes.names_epochs,
            f"late_changes.of_epochs={self.late_changes.of_epochs}: late changes need a schedule of fixed epochs, such"
            " as schedule=log_2012",
        )
        if self.architecture.name == groups.ALEXNET:
            return
        fixed = {
            "columns=one": self.columns.kind == "one",
            "dropout=none": not self.dropout.layers,
            "depth=five": not self.depth.remove and not self.depth.sixth_conv,
            "relu_position.after_pooling=[]": not self.relu_position.after_pooling,
            "within_channel_lrn.layers=[]": not self.within_channel_lrn.layers,
            "classifier.bottleneck=false": not self.classifier.bottleneck,
        }
        name = f"architecture={self.architecture.name}"
        wanted = " ".join(choice for choice, holds in fixed.items() if not holds)
        require(not wanted, f"{name} has one column, no dropout and fixed layers: add {wanted}")
        wrong = problem(self.lrn.layers, layers=CIFAR_NORMALIZED)
        require(wrong is None, f"lrn.layers={self.lrn.layers} of {name}: {wrong}")

    def late_epoch(self, epoch: int) -> int:
        """Return the epoch of this run that corresponds to one in `late_changes`."""
        return groups.scaled_epoch(epoch, of=self.late_changes.of_epochs, to=self.schedule.epochs)

    def color_is_on(self, epoch: int) -> bool:
        """Whether training images get their PCA color augmentation in this epoch; the 2012 source ends it late."""
        return self.late_changes.color_off_epoch is None or epoch < self.late_epoch(self.late_changes.color_off_epoch)


ConfigTree = dict[str, Any]
"""A configuration as plain nested dicts, lists, numbers and strings."""

NON_IDENTITY_KEYS = ("runs", "restart", "hardware", "devices", "wandb", "target", "data.packs")
"""Keys that say where or how a run computes, not what: they are no part of its identity."""


def schema_defaults(node: Any = Config, prefix: str = "") -> dict[str, Any]:
    """Return the schema's default of each dotted key that has one."""
    hints = get_type_hints(node)
    defaults: dict[str, Any] = {}
    for entry in fields(node):
        if is_dataclass(hints[entry.name]):
            defaults |= schema_defaults(hints[entry.name], f"{prefix}{entry.name}.")
        elif entry.default is not NO_DEFAULT and entry.default != MISSING:
            defaults[prefix + entry.name] = entry.default
        elif entry.default_factory is not NO_DEFAULT:
            defaults[prefix + entry.name] = entry.default_factory()
    return defaults


def flatten(tree: ConfigTree, prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as dotted keys; lists and empty dicts are values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
