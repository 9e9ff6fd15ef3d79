"""The schema of a run: one dataclass per Hydra group, every field with its unit or meaning.

The values live in `conf/`; this file holds only names, types and limits. A key that is not declared here does not
exist: `alexnet.config.compose` refuses it before data or model are touched.
"""

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, get_type_hints

from omegaconf import MISSING

from alexnet.errors import UserError, did_you_mean

CONV_LAYERS = (1, 2, 3, 4, 5)
FC_LAYERS = (6, 7)
ALEXNET = "alexnet"
ARCHITECTURES = (ALEXNET, "cifar_80sec", "cifar_19pct", "cifar_13pct", "cifar_11pct")
POOLED = (1, 2, 5)
"""Convolutions that a pooling layer follows (section 3.5)."""
DATA_SETS = ("shapes", "cifar10", "tiny_imagenet", "folder", "ilsvrc2010", "ilsvrc2012", "fall2009", "fall2011")
CIFAR_NORMALISED = (1, 2)
"""Convolutions of the CIFAR-10 nets that can be normalised."""


def _require(condition: bool, message: str) -> None:
    """Refuse a value that has the right type but no meaning."""
    if not condition:
        raise UserError(message)


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    _require(value in allowed, f"{key}={value}: there is no such choice{did_you_mean(value, allowed)}")


def _subset(key: str, values: list[int], allowed: tuple[int, ...]) -> None:
    _require(len(set(values)) == len(values), f"{key}={values} names a layer twice")
    wrong = [value for value in values if value not in allowed]
    _require(not wrong, f"{key}={values}: {wrong} is not among the layers {list(allowed)}")


@dataclass(kw_only=True)
class ArchitectureConfig:
    """Which network: the paper's, or one of the CIFAR-10 nets of the authors' software (`alexnet.net.cifar`)."""

    name: str = ALEXNET

    def __post_init__(self) -> None:
        _one_of("architecture.name", self.name, ARCHITECTURES)


@dataclass(kw_only=True)
class ScaleConfig:
    """Size of the images and of the network."""

    image_size: int = MISSING
    """Side of the square images in the pack, pixels."""
    crop_size: int = MISSING
    """Side of the square that the network sees, pixels."""
    conv1_kernel: int = MISSING
    conv1_stride: int = MISSING
    conv1_padding: int = MISSING
    """Zeros added on the left and the top; the right and bottom follow from rounding the map size up."""
    channels: list[int] = MISSING
    """Kernels of conv1 to conv5, both columns together."""
    fc_width: int = MISSING
    """Units of fc6 and of fc7, both columns together."""

    def __post_init__(self) -> None:
        _require(
            self.crop_size <= self.image_size,
            f"scale.crop_size={self.crop_size} is larger than scale.image_size={self.image_size}",
        )
        _require(
            len(self.channels) == len(CONV_LAYERS) and all(n > 0 and n % 8 == 0 for n in self.channels),
            f"scale.channels={list(self.channels)}: give five numbers of kernels, each a multiple of 8",
        )
        _require(
            self.fc_width > 0 and self.fc_width % 2 == 0,
            f"scale.fc_width={self.fc_width}: an even number is needed",
        )
        _require(self.conv1_kernel >= 1, f"scale.conv1_kernel={self.conv1_kernel} must be at least 1")
        _require(self.conv1_stride >= 1, f"scale.conv1_stride={self.conv1_stride} must be at least 1")
        _require(self.conv1_padding >= 0, f"scale.conv1_padding={self.conv1_padding} is negative")


@dataclass(kw_only=True)
class ColumnsConfig:
    """How the network is divided (paper, section 3.2)."""

    kind: str = MISSING
    """`two`: the paper's two columns; `one`: its one-GPU net; `isolated`: no exchange before the classifier."""

    def __post_init__(self) -> None:
        _one_of("columns.kind", self.kind, ("two", "one", "isolated"))


@dataclass(kw_only=True)
class LrnConfig:
    """Local response normalisation (section 3.3)."""

    layers: list[int] = MISSING
    """Convolutions whose output is normalised."""
    size: int = MISSING
    """Neighbouring maps in the window, n."""
    k: float = MISSING
    alpha: float = MISSING
    beta: float = MISSING
    divide_alpha: bool = MISSING
    """Whether alpha is divided by n, as in the 2012 source, or multiplies the sum of squares itself, as printed."""
    across_columns: bool = False
    """Whether windows cross from one column into the other; the 2012 source normalises each column by itself."""

    def __post_init__(self) -> None:
        _subset("lrn.layers", self.layers, CONV_LAYERS)
        _require(
            self.size >= 1 and self.size % 2 == 1, f"lrn.size={self.size}: the window is centred, give an odd number"
        )
        _require(self.k > 0, f"lrn.k={self.k} must be positive")
        _require(self.alpha >= 0 and self.beta >= 0, f"lrn.alpha={self.alpha} and lrn.beta={self.beta}: not below 0")


@dataclass(kw_only=True)
class WithinChannelLrnConfig:
    """The normalisation within a map that the 2012 source adds and the paper does not mention: each activity is
    divided by (1 + alpha / size^2 * sum of the squares in the size x size pixels around it)^beta."""

    layers: list[int] = field(default_factory=list)
    """Convolutions whose output it follows, after their LRN."""
    size: int = 5
    """Side of the window, pixels."""
    alpha: float = 1e-3
    beta: float = 0.75

    def __post_init__(self) -> None:
        _subset("within_channel_lrn.layers", self.layers, CONV_LAYERS)
        _require(
            self.size >= 1 and self.size % 2 == 1,
            f"within_channel_lrn.size={self.size}: the window is centred, give an odd number",
        )
        _require(
            self.alpha >= 0 and self.beta >= 0,
            f"within_channel_lrn.alpha={self.alpha} and within_channel_lrn.beta={self.beta}: not below 0",
        )


@dataclass(kw_only=True)
class ReluPositionConfig:
    """Where the non-linearity stands among a layer's norm and pooling."""

    after_pooling: list[int] = field(default_factory=list)
    """Convolutions whose non-linearity follows their norm and pooling instead of the convolution itself."""

    def __post_init__(self) -> None:
        _subset("relu_position.after_pooling", self.after_pooling, POOLED)


@dataclass(kw_only=True)
class PoolingConfig:
    """Max-pooling after layers 1, 2 and 5 (section 3.4)."""

    size: int = MISSING
    """Side of the pooling window, z."""
    stride: int = MISSING
    """Distance between windows, s; s < z overlaps."""

    def __post_init__(self) -> None:
        _require(
            1 <= self.stride <= self.size,
            f"pooling.stride={self.stride} must lie between 1 and pooling.size={self.size}",
        )


@dataclass(kw_only=True)
class ActivationConfig:
    """The neurons' non-linearity (section 3.1)."""

    name: str = MISSING

    def __post_init__(self) -> None:
        _one_of("activation.name", self.name, ("relu", "tanh", "sigmoid", "abs_tanh"))


@dataclass(kw_only=True)
class DropoutConfig:
    """Dropout, not inverted: masked in training, outputs scaled down at test (section 4.2)."""

    layers: list[int] = MISSING
    """Fully connected layers (6, 7) whose outputs are dropped."""
    probability: float = MISSING
    """Probability of dropping a unit."""

    def __post_init__(self) -> None:
        _subset("dropout.layers", self.layers, FC_LAYERS)
        _require(0 <= self.probability < 1, f"dropout.probability={self.probability} must lie in [0, 1)")


@dataclass(kw_only=True)
class DepthConfig:
    """Which convolutions exist (sections 1, 6 and 7)."""

    remove: list[int] = MISSING
    """Convolutions left out."""
    sixth_conv: bool = MISSING
    """Whether a sixth convolution sits over the last pooling layer."""

    def __post_init__(self) -> None:
        _subset("depth.remove", self.remove, CONV_LAYERS)
        _require(len(self.remove) <= 1, f"depth.remove={list(self.remove)}: at most one layer can be left out")


@dataclass(kw_only=True)
class ClassifierConfig:
    """What lies between fc7 and the classes."""

    bottleneck: bool = False
    """Whether a linear layer, half as wide as fc7, lies below the classifier (2012 source, net 146-2011)."""


@dataclass(kw_only=True)
class PretrainedConfig:
    """Weights to start from instead of random ones: "pre-training" and "fine-tuning" (section 6)."""

    checkpoint: str | None = None
    """Run directory or checkpoint that the weights come from; None draws all of them."""
    reinit: list[str] = field(default_factory=list)
    """Layers that are initialized as usual instead, such as `fc8` for other classes."""

    def __post_init__(self) -> None:
        _require(
            len(set(self.reinit)) == len(self.reinit), f"pretrained.reinit={list(self.reinit)} names a layer twice"
        )


@dataclass(kw_only=True)
class InitConfig:
    """Weights and biases before the first step (section 5)."""

    std: float = MISSING
    """Standard deviation of the normal weights in every layer but conv3 to conv5, at the paper's fan-in."""
    std_conv3_to_5: float = MISSING
    """The same for conv3, conv4 and conv5, and for a sixth convolution."""
    preserve_gain: bool = MISSING
    """Scale each std by sqrt(paper's fan-in / this network's), so that a narrow net passes on as much signal."""
    bias: float = MISSING
    """Bias of conv2, conv4, conv5, fc6 and fc7 (and of a sixth convolution); 0 elsewhere."""

    def __post_init__(self) -> None:
        _require(self.std > 0 and self.std_conv3_to_5 > 0, "init.std and init.std_conv3_to_5 must be positive")


@dataclass(kw_only=True)
class CropsConfig:
    """The first form of augmentation: random crops and mirror images (section 4.1)."""

    random: bool = MISSING
    """Random position in training; the centre otherwise."""
    flip: bool = MISSING
    """Mirror left and right with probability 1/2 in training."""
    include_last_offset: bool = MISSING
    """Whether random crops also start at the last offset that fits: 33 x 33 positions of 224 in 256, not 32 x 32."""
    images_per_crop: int = 1
    """Consecutive images of an epoch that share one position and one mirroring."""
    center_mean: bool = False
    """Whether the centre of the mean image is subtracted from every crop, wherever it was cut and however mirrored."""

    def __post_init__(self) -> None:
        _require(self.images_per_crop >= 1, f"crops.images_per_crop={self.images_per_crop} must be at least 1")


@dataclass(kw_only=True)
class ShuffleConfig:
    """The order of the training images."""

    each_epoch: bool = True
    """Whether each epoch has an order of its own; else all have one, and batches keep their images."""


@dataclass(kw_only=True)
class ColorConfig:
    """The second form of augmentation: noise along the principal directions of the pixels' colours (section 4.1)."""

    std: float = MISSING
    """Standard deviation of the random multiplier; 0 switches the noise off."""
    magnitude: str = MISSING
    """What is multiplied: `std` along each direction (2012 source), or the `eigenvalue` as printed."""
    rescale: bool = False
    """Whether images with noise are divided by 1 + std, so that their scale does not grow."""

    def __post_init__(self) -> None:
        _one_of("color.magnitude", self.magnitude, ("std", "eigenvalue"))
        _require(self.std >= 0, f"color.std={self.std} is negative")


@dataclass(kw_only=True)
class OptimizerConfig:
    """The 2012 momentum rule (section 5)."""

    lr: float = MISSING
    """Initial learning rate, epsilon."""
    momentum: float = MISSING
    weight_decay: float = MISSING
    decay_biases: bool = MISSING
    """Whether the decay also acts on biases (the paper prints one rule for every weight)."""
    weight_decay_multipliers: dict[str, float] = field(default_factory=dict)
    """Layer -> what `weight_decay` is multiplied by in it; 1 for layers that are not named."""
    bias_lr_multiplier: float = 1.0
    """What `lr` is multiplied by for biases."""
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    """Layer -> what `lr` is multiplied by in it; 1 for layers that are not named, 0 for one that does not learn."""
    batch_size: int = MISSING
    """Images per update."""

    def __post_init__(self) -> None:
        _require(self.lr > 0, f"optimizer.lr={self.lr} must be positive")
        _require(0 <= self.momentum < 1, f"optimizer.momentum={self.momentum} must lie in [0, 1)")
        _require(self.weight_decay >= 0, f"optimizer.weight_decay={self.weight_decay} is negative")
        for layer, factor in self.weight_decay_multipliers.items():
            _require(factor >= 0, f"optimizer.weight_decay_multipliers.{layer}={factor} is negative")
        for layer, factor in self.lr_multipliers.items():
            _require(factor >= 0, f"optimizer.lr_multipliers.{layer}={factor} is negative")
        _require(
            self.bias_lr_multiplier > 0, f"optimizer.bias_lr_multiplier={self.bias_lr_multiplier} must be positive"
        )
        _require(self.batch_size >= 1, f"optimizer.batch_size={self.batch_size} must be at least 1")


@dataclass(kw_only=True)
class ScheduleConfig:
    """When the learning rate is divided, and when training stops."""

    kind: str = MISSING
    """`multistep`: at given epochs; `plateau`: when the validation error stops improving."""
    factor: float = MISSING
    """What the rate is divided by at each drop."""
    epochs: int = MISSING
    """Length of training; for `plateau` the most there can be."""
    milestones: list[int] = MISSING
    """`multistep`: epochs, counted from 0, at whose start the rate drops."""
    max_lr_drops: int = MISSING
    """`plateau`: drops before training ends at the next plateau."""
    patience: int = MISSING
    """`plateau`: epochs without a new best validation error that make a plateau."""
    rescale_to_epochs: int | None = None
    """Stretch or shrink a schedule of fixed epochs to this many; its drops move along."""
    stop_at_train_error: float | None = None
    """Stop after the epoch at whose end the top-1 error over all training images, unaugmented and in evaluation mode,
    has come down to this many percent. None neither stops nor measures that error."""

    def __post_init__(self) -> None:
        _one_of("schedule.kind", self.kind, ("multistep", "plateau"))
        _require(self.factor > 1, f"schedule.factor={self.factor} must exceed 1")
        _require(self.epochs >= 1, f"schedule.epochs={self.epochs} must be at least 1")
        _require(self.patience >= 1, f"schedule.patience={self.patience} must be at least 1")
        _require(
            self.stop_at_train_error is None or 0 <= self.stop_at_train_error < 100,
            f"schedule.stop_at_train_error={self.stop_at_train_error} must lie in [0, 100)",
        )
        _require(self.max_lr_drops >= 0, f"schedule.max_lr_drops={self.max_lr_drops} is negative")
        _require(
            list(self.milestones) == sorted(set(self.milestones)) and all(drop > 0 for drop in self.milestones),
            f"schedule.milestones={list(self.milestones)}: give rising epochs, the first above 0",
        )
        if self.rescale_to_epochs is not None:
            self._scale(self.rescale_to_epochs)

    def _scale(self, epochs: int) -> None:
        _require(
            self.kind == "multistep" and epochs >= 1,
            f"schedule.rescale_to_epochs={epochs}: only a schedule of fixed epochs can be scaled, to at least one",
        )
        self.milestones = [max(1, scaled_epoch(drop, of=self.epochs, to=epochs)) for drop in self.milestones]
        # The values of a scaled schedule are no longer to be scaled: a copy of this one stays as it is.
        self.epochs, self.rescale_to_epochs = epochs, None


def scaled_epoch(epoch: int, *, of: int, to: int) -> int:
    """Where an epoch of a training `of` epochs long falls in one of `to` epochs."""
    return round(epoch * to / of)


@dataclass(kw_only=True)
class LateChangesConfig:
    """What the 2012 source changes in the last part of training, beside the rate (its parameter files' notes)."""

    of_epochs: int = 91
    """Length of the training that the epochs below belong to; they are scaled to `schedule.epochs`."""
    layers: list[int] = field(default_factory=list)
    """Convolutions that are slowed, then frozen."""
    lr_drop_epoch: int = 67
    """Epoch at whose start the rate of these layers is divided by `schedule.factor` once more."""
    freeze_epoch: int = 72
    """Epoch from which on they are not updated at all."""
    color_off_epoch: int | None = None
    """Epoch from which on there is no colour noise; None: it lasts."""
    bias_milestones: list[int] | None = None
    """Epochs at whose start the biases' rate is divided; None: together with that of the weights."""

    def __post_init__(self) -> None:
        _subset("late_changes.layers", self.layers, CONV_LAYERS)
        _require(self.of_epochs >= 1, f"late_changes.of_epochs={self.of_epochs} must be at least 1")
        epochs = [self.lr_drop_epoch, self.freeze_epoch, self.color_off_epoch or 0, *(self.bias_milestones or [])]
        _require(min(epochs) >= 0, f"late: epochs are counted from 0, not from {min(epochs)}")

    @property
    def names_epochs(self) -> bool:
        """Whether anything happens at a given epoch, for which the length of training must be known."""
        return bool(self.layers or self.bias_milestones) or self.color_off_epoch is not None


@dataclass(kw_only=True)
class ShapesConfig:
    """Size of the drawn data set; see `alexnet.data.sources.shapes`."""

    train_per_class: int = 150
    val_per_class: int = 20
    test_per_class: int = 50
    seed: int = 2012
    """Seed of the drawing, not of the run: every run sees one data set."""

    def __post_init__(self) -> None:
        counts = (self.train_per_class, self.val_per_class, self.test_per_class)
        _require(min(counts) >= 1, f"data.shapes: each split needs at least one image per class, not {counts}")
        _require(self.seed >= 0, f"data.shapes.seed={self.seed} is negative")


ENCODINGS = ("auto", "raw", "jpeg")
SUBSAMPLINGS = ("444", "422", "420")


@dataclass(kw_only=True)
class DataConfig:
    """Which images."""

    name: str = MISSING
    root: str | None = None
    """A pack, a folder of class folders, or an archive of one. None: the set's own source (drawn or downloaded)."""
    packs: str = "packs"
    """Folder in which packs are kept that are made on first use."""
    val_fraction: float = 0.1
    """Share of the training images held out for validation where the source has no validation split."""
    test_fraction: float = 0.0
    """Share of all images held out for testing, before those for validation, where the source has no test split."""
    encoding: str = "auto"
    """How a pack made on first use keeps its images: `raw`, `jpeg`, or `auto`, which is raw up to 4 GiB. This and what
    follows says which pixels a run sees, so runs that differ in it are different runs."""
    quality: int = 90
    """Of its JPEG files, 1 to 100."""
    chroma_subsampling: str = "420"
    """Of their colours: `444`, `422` or `420`."""
    decoder: str = "cpu"
    """Of JPEG packs, in training and in the run's own evaluation: `cpu`, or `nvjpeg` on an NVIDIA GPU, whose pixels
    differ by more than rounding."""
    shapes: ShapesConfig = field(default_factory=ShapesConfig)

    def __post_init__(self) -> None:
        _one_of("data.name", self.name, DATA_SETS)
        _require(0 < self.val_fraction < 1, f"data.val_fraction={self.val_fraction} must be above 0 and below 1")
        _require(0 <= self.test_fraction < 1, f"data.test_fraction={self.test_fraction} must lie in [0, 1)")
        _one_of("data.encoding", self.encoding, ENCODINGS)
        _require(1 <= self.quality <= 100, f"data.quality={self.quality} must lie between 1 and 100")
        _one_of("data.chroma_subsampling", self.chroma_subsampling, SUBSAMPLINGS)
        _one_of("data.decoder", self.decoder, ("cpu", "nvjpeg"))


COMPILE_MODES = ("default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")


@dataclass(kw_only=True)
class HardwareConfig:
    """Where and how a run computes; no value here changes what is computed, beyond rounding."""

    accelerator: str = "auto"
    """`auto`, `cpu` or `gpu`."""
    threads: int | None = None
    """CPU threads of one run; None leaves torch's choice."""
    loader_threads: int | None = None
    """Threads that make batches ahead; None: one beside a network on the CPU, every core beside a GPU."""
    precision: str = "32-true"
    """Lightning's names: `32-true`, or `bf16-mixed`: training's matrix products in bfloat16, weights, updates, losses
    and the final errors in float32."""
    compile: bool = False
    """Whether torch compiles the network: pays on a GPU, and costs minutes at the start."""
    compile_mode: str = "default"
    """Torch's names: `default`, `reduce-overhead` (CUDA graphs), `max-autotune-no-cudagraphs` or `max-autotune`."""
    matmul: str = "default"
    """Library of float32 matrix products on a CPU: torch's `default`, MKL, or `onednn`, which is faster on AMD's."""
    allocator: str = "default"
    """`tuned` keeps the memory of large tensors for the next step instead of handing it back (Linux with glibc)."""
    eval_batch_size: int = 256
    """Images per evaluation batch (each counts ten times under ten-crop)."""
    progress_bar: bool = True
    """A live bar on a terminal; one line per epoch otherwise."""

    def __post_init__(self) -> None:
        _one_of("hardware.accelerator", self.accelerator, ("auto", "cpu", "gpu"))
        _one_of("hardware.precision", self.precision, ("32-true", "bf16-mixed"))
        _one_of("hardware.compile_mode", self.compile_mode, COMPILE_MODES)
        _one_of("hardware.matmul", self.matmul, ("default", "onednn"))
        _one_of("hardware.allocator", self.allocator, ("default", "tuned"))
        for name, threads in (("threads", self.threads), ("loader_threads", self.loader_threads)):
            _require(threads is None or threads >= 1, f"hardware.{name}={threads} must be at least 1")
        _require(self.eval_batch_size >= 1, f"hardware.eval_batch_size={self.eval_batch_size} must be at least 1")


@dataclass(kw_only=True)
class DevicesConfig:
    """How many processes, each with a device, train one network; changes nothing in what is computed but rounding."""

    replicas: int | None = 1
    """Copies of the network, each of which sees its part of every batch (data parallelism). None: one for each GPU, two
    on a CPU, or as many as torchrun or srun has started."""
    model_parallel: bool = False
    """Whether each copy is divided among two devices, a column on each, as in 2012 (section 3.2)."""

    def __post_init__(self) -> None:
        _require(self.replicas is None or self.replicas >= 1, f"devices.replicas={self.replicas} must be at least 1")

    @property
    def per_replica(self) -> int:
        """How many devices hold one network."""
        return 2 if self.model_parallel else 1


@dataclass(kw_only=True)
class WandbConfig:
    """Weights & Biases."""

    mode: str = "offline"
    """`offline` writes into the run folder for a later `wandb sync`; `online` needs a login; `disabled`."""
    project: str = "alexnet-ablations"
    entity: str | None = None

    def __post_init__(self) -> None:
        _one_of("wandb.mode", self.mode, ("offline", "online", "disabled"))


@dataclass(kw_only=True)
class Errors:
    """A pair of top-1 and top-5 errors, or differences of errors, in percentage points."""

    top1: float | None = None
    top5: float | None = None


@dataclass(kw_only=True)
class Claim:
    """What the paper and its authors' log say about one ablation."""

    title: str = MISSING
    section: str = MISSING
    """Section of the paper; `log` or `source` where only the authors' log, or their released code, speaks of it."""
    statement: str = MISSING
    """The claim in our words."""
    paper: Errors = field(default_factory=Errors)
    """Rise of the error that the paper gives, in points; None where it gives no number."""
    log: Errors = field(default_factory=Errors)
    """Rise of the error in the authors' log, in points."""


@dataclass(kw_only=True)
class Target:
    """Absolute errors to compare a baseline with, in percent."""

    paper: Errors = field(default_factory=Errors)
    log: Errors = field(default_factory=Errors)


@dataclass(kw_only=True)
class Config:
    """One run, completely."""

    recipe: str = MISSING
    experiment: str = MISSING
    seed: int = MISSING
    architecture: ArchitectureConfig = field(default_factory=ArchitectureConfig)
    scale: ScaleConfig = MISSING
    columns: ColumnsConfig = MISSING
    lrn: LrnConfig = MISSING
    within_channel_lrn: WithinChannelLrnConfig = field(default_factory=WithinChannelLrnConfig)
    relu_position: ReluPositionConfig = field(default_factory=ReluPositionConfig)
    pooling: PoolingConfig = MISSING
    activation: ActivationConfig = MISSING
    dropout: DropoutConfig = MISSING
    depth: DepthConfig = MISSING
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    init: InitConfig = MISSING
    pretrained: PretrainedConfig = field(default_factory=PretrainedConfig)
    crops: CropsConfig = MISSING
    color: ColorConfig = MISSING
    shuffle: ShuffleConfig = field(default_factory=ShuffleConfig)
    optimizer: OptimizerConfig = MISSING
    schedule: ScheduleConfig = MISSING
    late_changes: LateChangesConfig = field(default_factory=LateChangesConfig)
    data: DataConfig = MISSING
    hardware: HardwareConfig = MISSING
    devices: DevicesConfig = field(default_factory=DevicesConfig)
    wandb: WandbConfig = MISSING
    target: Target = field(default_factory=Target)
    """The paper's own errors, where the experiment is one of the paper's."""
    ablations: dict[str, Claim] = field(default_factory=dict)
    """The claims under test, by ablation; each chosen ablation adds its own."""
    runs: str = "runs"
    """Folder of run directories."""
    restart: bool = False
    """Start over even if this very run has been begun or finished before."""

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**31, f"seed={self.seed} must lie between 0 and 2147483647")
        _require(
            self.schedule.kind == "multistep" or not self.late_changes.names_epochs,
            f"late_changes.of_epochs={self.late_changes.of_epochs}: late changes need a schedule of fixed epochs, such"
            " as schedule=log_2012",
        )
        if self.architecture.name != ALEXNET:
            self._check_cifar()

    def late_epoch(self, epoch: int) -> int:
        """The epoch of this run that corresponds to one of the schedule that `late_changes` speaks of."""
        return scaled_epoch(epoch, of=self.late_changes.of_epochs, to=self.schedule.epochs)

    def color_is_on(self, epoch: int) -> bool:
        """Whether training images get their colour noise in this epoch; the 2012 source switches it off late."""
        return self.late_changes.color_off_epoch is None or epoch < self.late_epoch(self.late_changes.color_off_epoch)

    def _check_cifar(self) -> None:
        """The CIFAR-10 nets have neither columns nor dropout, and their layers are fixed."""
        name = f"architecture={self.architecture.name}"
        fixed = {
            "columns=one": self.columns.kind == "one",
            "dropout=none": not self.dropout.layers,
            "depth=five": not self.depth.remove and not self.depth.sixth_conv,
            "relu_position.after_pooling=[]": not self.relu_position.after_pooling,
            "within_channel_lrn.layers=[]": not self.within_channel_lrn.layers,
            "classifier.bottleneck=false": not self.classifier.bottleneck,
        }
        wanted = " ".join(choice for choice, holds in fixed.items() if not holds)
        _require(not wanted, f"{name} has one column, no dropout and fixed layers: add {wanted}")
        _subset(f"lrn.layers of {name}", self.lrn.layers, CIFAR_NORMALISED)


ConfigTree = dict[str, Any]
"""A configuration as plain nested dicts, lists, numbers and strings."""

NON_IDENTITY_KEYS = ("runs", "restart", "hardware", "devices", "wandb", "target", "data.packs")
"""Keys that say where or how a run computes, not what: they are no part of its identity."""


def schema_defaults(node: Any = Config, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> the schema's default, for the keys that have one."""
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
    """Nested dicts to dotted keys; lists and empty dicts are values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
