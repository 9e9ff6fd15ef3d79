"""The groups of the configuration: names, types and limits of their values, which `conf/` gives with reasons.

They are dataclasses, which OmegaConf reads as structured configs: a key that is not declared here does not exist.
"""

from dataclasses import dataclass, field
from typing import Literal, get_args

from alexnet.config.limits import MISSING, Group, limited, require

CONV_LAYERS = (1, 2, 3, 4, 5)
FC_LAYERS = (6, 7)
POOLED = (1, 2, 5)
"""Convolutions followed by a pooling layer (section 3.5)."""
ALEXNET = "alexnet"
ENCODINGS = ("auto", "raw", "jpeg")
SUBSAMPLINGS = ("444", "422", "420")


@dataclass(kw_only=True)
class ArchitectureConfig(Group):
    """Which network: the paper's, or one of the CIFAR-10 nets of the authors' software (`alexnet.net.cifar`)."""

    name: str = limited(ALEXNET, choices=(ALEXNET, "cifar_80sec", "cifar_19pct", "cifar_13pct", "cifar_11pct"))


@dataclass(kw_only=True)
class ScaleConfig(Group):
    """Size of the images and of the network."""

    image_size: int = limited(ge=1)
    """Side of the square images in the pack, pixels."""
    crop_size: int = limited(ge=1)
    """Side of the square that the network sees, pixels."""
    conv1_kernel: int = limited(ge=1)
    conv1_stride: int = limited(ge=1)
    conv1_padding: int = limited(ge=0)
    """Zeros added on the left and the top; the right and bottom follow from rounding the map size up."""
    channels: list[int] = MISSING
    """Kernels of conv1 to conv5, both columns together."""
    fc_width: int = limited(ge=2)
    """Units of fc6 and of fc7, both columns together."""

    def _check_relations(self) -> None:
        require(
            self.crop_size <= self.image_size,
            f"scale.crop_size={self.crop_size} is larger than scale.image_size={self.image_size}",
        )
        require(
            len(self.channels) == len(CONV_LAYERS) and all(count > 0 and count % 8 == 0 for count in self.channels),
            f"scale.channels={self.channels}: give five numbers of kernels, each a multiple of 8",
        )
        require(self.fc_width % 2 == 0, f"scale.fc_width={self.fc_width}: must be even")


@dataclass(kw_only=True)
class ColumnsConfig(Group):
    """How the network is divided (section 3.2)."""

    kind: str = limited(choices=("two", "one", "isolated"))
    """`two`: the paper's two columns; `one`: its one-GPU net; `isolated`: no exchange before the classifier."""


@dataclass(kw_only=True)
class LrnConfig(Group):
    """Local response normalization (section 3.3)."""

    layers: list[int] = limited(layers=CONV_LAYERS)
    """Convolutions whose output is normalized."""
    size: int = limited(ge=1, odd=True)
    """Neighboring channels in the window, n."""
    k: float = limited(gt=0)
    alpha: float = limited(ge=0)
    beta: float = limited(ge=0)
    divide_alpha: bool = MISSING
    """Whether alpha is divided by n, as in the 2012 source; the printed formula does not."""
    across_columns: bool = False
    """Whether windows cross from one column into the other; the 2012 source normalizes each column by itself."""


@dataclass(kw_only=True)
class WithinChannelLrnConfig(Group):
    """The normalization within a channel that the 2012 source adds and the paper does not mention: each activity is
    divided by (1 + alpha / size^2 * sum of the squares in the size x size pixels around it)^beta."""

    layers: list[int] = limited([], layers=CONV_LAYERS)
    """Convolutions whose output it follows, after their LRN."""
    size: int = limited(5, ge=1, odd=True)
    """Side of the window, pixels."""
    alpha: float = limited(1e-3, ge=0)
    beta: float = limited(0.75, ge=0)


@dataclass(kw_only=True)
class ReluPositionConfig(Group):
    """The place of the ReLU, or another activation, in a layer with LRN and pooling."""

    after_pooling: list[int] = limited([], layers=POOLED)
    """Convolutions whose activation follows their LRN and pooling instead of the convolution itself."""


@dataclass(kw_only=True)
class PoolingConfig(Group):
    """Max-pooling after layers 1, 2 and 5 (section 3.4)."""

    size: int = limited(ge=1)
    """Side of the pooling window, z."""
    stride: int = limited(ge=1)
    """Distance between windows, s; s < z overlaps."""

    def _check_relations(self) -> None:
        require(self.stride <= self.size, f"pooling.stride={self.stride} is larger than pooling.size={self.size}")


@dataclass(kw_only=True)
class ActivationConfig(Group):
    """The activation function (section 3.1)."""

    name: str = limited(choices=("relu", "tanh", "sigmoid", "abs_tanh"))


@dataclass(kw_only=True)
class DropoutConfig(Group):
    """Dropout, not inverted: masked in training, outputs scaled down at test (section 4.2)."""

    layers: list[int] = limited(layers=FC_LAYERS)
    """Fully connected layers (6, 7) whose outputs are dropped."""
    probability: float = limited(ge=0, lt=1)
    """Probability of dropping a unit."""


@dataclass(kw_only=True)
class DepthConfig(Group):
    """Which convolutions exist (sections 1, 6 and 7)."""

    remove: list[int] = limited(layers=CONV_LAYERS)
    """Convolutions left out."""
    sixth_conv: bool = MISSING
    """Whether there is a sixth convolution after the last pooling layer."""

    def _check_relations(self) -> None:
        require(len(self.remove) <= 1, f"depth.remove={self.remove}: at most one layer can be left out")


@dataclass(kw_only=True)
class ClassifierConfig(Group):
    """What lies between fc7 and the classes."""

    bottleneck: bool = False
    """Whether a linear layer, half as wide as fc7, lies below the classifier (2012 source, net 146-2011)."""


@dataclass(kw_only=True)
class PretrainedConfig(Group):
    """Weights to start from instead of random ones: "pre-training" and "fine-tuning" (section 6)."""

    checkpoint: str | None = None
    """Run directory or checkpoint to load weights from; None initializes all of them."""
    reinit: list[str] = limited([], unique=True)
    """Layers that are initialized as usual instead, such as `fc8` for other classes."""


@dataclass(kw_only=True)
class InitConfig(Group):
    """Weights and biases before the first step (section 5)."""

    std: float = limited(gt=0)
    """Standard deviation of the normal weights in every layer but conv3 to conv5, at the paper's fan-in."""
    std_conv3_to_5: float = limited(gt=0)
    """The same for conv3, conv4 and conv5, and for a sixth convolution."""
    preserve_gain: bool = MISSING
    """Scale each std by sqrt(paper's fan-in / this network's), so that a narrow net passes on as much signal."""
    bias: float = MISSING
    """Bias of conv2, conv4, conv5, fc6 and fc7 (and of a sixth convolution); 0 elsewhere."""


@dataclass(kw_only=True)
class CropsConfig(Group):
    """The first form of augmentation: random crops and horizontal reflections (section 4.1)."""

    random: bool = MISSING
    """Random offset in training; the center otherwise."""
    flip: bool = MISSING
    """Flip horizontally with probability 1/2 in training."""
    include_last_offset: bool = MISSING
    """Whether random crops also start at the last offset that fits: 33 x 33 offsets of 224 in 256, not 32 x 32."""
    images_per_crop: int = limited(1, ge=1)
    """Consecutive images of an epoch that share one offset and one flip."""
    center_mean: bool = False
    """Whether the center of the mean image is subtracted from every crop, whatever its offset and flip."""


@dataclass(kw_only=True)
class ShuffleConfig(Group):
    """The order of the training images."""

    each_epoch: bool = True
    """Whether the order is drawn again for each epoch; otherwise batches keep their images."""


@dataclass(kw_only=True)
class ColorConfig(Group):
    """The second form of augmentation: noise along the principal directions of the pixels' colors (section 4.1)."""

    std: float = limited(ge=0)
    """Standard deviation of the random multiplier; 0 switches the noise off."""
    magnitude: str = limited(choices=("std", "eigenvalue"))
    """What is multiplied: `std` along each direction (2012 source), or the `eigenvalue` as printed."""
    rescale: bool = False
    """Whether images with noise are divided by 1 + std, so that their scale does not grow."""


@dataclass(kw_only=True)
class OptimizerConfig(Group):
    """The 2012 momentum rule (section 5)."""

    lr: float = limited(gt=0)
    """Initial learning rate, epsilon."""
    momentum: float = limited(ge=0, lt=1)
    weight_decay: float = limited(ge=0)
    decay_biases: bool = MISSING
    """Whether the decay also acts on biases (the paper prints one rule for every weight)."""
    weight_decay_multipliers: dict[str, float] = limited({}, ge=0)
    """Factor of `weight_decay` by layer; 1 for layers that are not named."""
    bias_lr_multiplier: float = limited(1.0, gt=0)
    """Factor of `lr` for biases."""
    lr_multipliers: dict[str, float] = limited({}, ge=0)
    """Factor of `lr` by layer; 1 for layers that are not named, 0 for one that does not learn."""
    batch_size: int = limited(ge=1)
    """Images per update, of all processes together."""


ScheduleKind = Literal["multistep", "plateau"]


@dataclass(kw_only=True)
class ScheduleConfig(Group):
    """When the learning rate is divided, and when training stops."""

    kind: str = limited(choices=get_args(ScheduleKind))
    """`multistep`: at given epochs; `plateau`: when the validation error stops improving."""
    factor: float = limited(gt=1)
    """Divisor of the learning rate at each drop."""
    epochs: int = limited(ge=1)
    """Length of training; for `plateau` its upper limit."""
    milestones: list[int] = MISSING
    """`multistep`: epochs, counted from 0, at whose start the learning rate drops."""
    max_lr_drops: int = limited(ge=0)
    """`plateau`: drops before training ends at the next plateau."""
    patience: int = limited(ge=1)
    """`plateau`: epochs without a new best validation error that make a plateau."""
    rescale_to_epochs: int | None = limited(None, ge=1)
    """`multistep`: stretch or shrink the schedule to this many epochs; its milestones move along."""
    stop_at_train_error: float | None = limited(None, ge=0, lt=100)
    """Stop after the epoch at whose end the top-1 error over all training images, unaugmented and in evaluation mode,
    is at most this many percent. None neither stops nor measures that error."""

    def _check_relations(self) -> None:
        rising = self.milestones == sorted(set(self.milestones)) and all(epoch > 0 for epoch in self.milestones)
        require(rising, f"schedule.milestones={self.milestones}: give rising epochs, the first above 0")
        require(
            self.rescale_to_epochs is None or self.kind == "multistep",
            f"schedule.rescale_to_epochs={self.rescale_to_epochs}: only a schedule of fixed epochs can be"
            " rescaled, such as schedule=log_2012",
        )

    def rescale(self) -> None:
        """Move the milestones and the end; does nothing if they are already where they should be."""
        if (epochs := self.rescale_to_epochs) is not None:
            self.milestones = [max(1, scaled_epoch(one, of=self.epochs, to=epochs)) for one in self.milestones]
            self.epochs, self.rescale_to_epochs = epochs, None


def scaled_epoch(epoch: int, *, of: int, to: int) -> int:
    """Return the epoch of a training `to` epochs long that corresponds to one of a training `of` epochs long."""
    return round(epoch * to / of)


@dataclass(kw_only=True)
class LateChangesConfig(Group):
    """What the 2012 source changes late in training, besides the learning rate (its parameter files' notes)."""

    of_epochs: int = limited(91, ge=1)
    """Length of the training to which the epochs below belong; they are scaled to `schedule.epochs`."""
    layers: list[int] = limited([], layers=CONV_LAYERS)
    """Convolutions whose learning rate drops once more, and which are then frozen."""
    lr_drop_epoch: int = limited(67, ge=0)
    """Epoch at whose start the learning rate of these layers is divided by `schedule.factor` once more."""
    freeze_epoch: int = limited(72, ge=0)
    """Epoch from which on they are not updated."""
    color_off_epoch: int | None = limited(None, ge=0)
    """Epoch from which on there is no PCA color augmentation; None keeps it to the end."""
    bias_milestones: list[int] | None = None
    """Epochs at whose start the learning rate of the biases drops; None: with that of the weights."""

    def _check_relations(self) -> None:
        fits = all(epoch >= 0 for epoch in self.bias_milestones or ())
        require(fits, f"late_changes.bias_milestones={self.bias_milestones}: epochs are counted from 0")

    @property
    def names_epochs(self) -> bool:
        """Whether anything happens at a given epoch, for which the length of training must be known."""
        return bool(self.layers or self.bias_milestones) or self.color_off_epoch is not None


@dataclass(kw_only=True)
class ShapesConfig(Group):
    """Size of the drawn dataset; see `alexnet.data.sources.shapes`."""

    train_per_class: int = limited(150, ge=1)
    val_per_class: int = limited(20, ge=1)
    test_per_class: int = limited(50, ge=1)
    seed: int = limited(2012, ge=0)
    """Seed of the drawing, not of the run: every run sees the same images."""


@dataclass(kw_only=True)
class DataConfig(Group):
    """Which images."""

    name: str = limited(
        choices=("shapes", "cifar10", "tiny_imagenet", "folder", "ilsvrc2010", "ilsvrc2012", "fall2009", "fall2011")
    )
    root: str | None = None
    """A pack, a folder of class folders, or an archive of one. None: the set's own source (drawn or downloaded)."""
    packs: str = "packs"
    """Folder for packs that are made on first use."""
    val_fraction: float = limited(0.1, gt=0, lt=1)
    """Share of the training images held out for validation if the source has no validation split."""
    test_fraction: float = limited(0.0, ge=0, lt=1)
    """Share of all images held out for testing, before those for validation, if the source has no test split."""
    encoding: str = limited("auto", choices=ENCODINGS)
    """How a pack made on first use keeps its images: `raw`, `jpeg`, or `auto`, which is raw up to 4 GiB. This and the
    next three change the pixels that a run sees, so runs that differ in them are different runs."""
    quality: int = limited(90, ge=1, le=100)
    """JPEG quality, 1 to 100."""
    chroma_subsampling: str = limited("420", choices=SUBSAMPLINGS)
    decoder: str = limited("cpu", choices=("cpu", "nvjpeg"))
    """Decoder of JPEG packs, in training and in the run's own evaluation: `cpu`, or `nvjpeg` on an NVIDIA GPU, whose
    pixels differ by more than rounding."""
    shapes: ShapesConfig = field(default_factory=ShapesConfig)


@dataclass(kw_only=True)
class HardwareConfig(Group):
    """Where and how a run computes; no value here changes what is computed, except by rounding."""

    accelerator: str = limited("auto", choices=("auto", "cpu", "gpu"))
    threads: int | None = limited(None, ge=1)
    """CPU threads of one run; None leaves torch's choice."""
    loader_threads: int | None = limited(None, ge=1)
    """Threads that make batches ahead; None: one for a network on the CPU, every core for a GPU."""
    precision: str = limited("32-true", choices=("32-true", "bf16-mixed"))
    """Lightning's names: `32-true`, or `bf16-mixed`: training's matrix products in bfloat16, weights, updates, losses
    and the final errors in float32."""
    compile: bool = False
    """Whether torch compiles the network: pays on a GPU, and costs minutes at the start."""
    compile_mode: str = limited(
        "default", choices=("default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")
    )
    """Torch's names; `reduce-overhead` uses CUDA graphs."""
    matmul: str = limited("default", choices=("default", "onednn"))
    """Library of float32 matrix products on a CPU: torch's `default`, MKL, or `onednn`, which is faster on AMD's."""
    allocator: str = limited("default", choices=("default", "tuned"))
    """`tuned` keeps the memory of large tensors for the next step instead of returning it (Linux with glibc)."""
    eval_batch_size: int = limited(256, ge=1)
    """Images per evaluation batch (each counts ten times under ten-crop)."""
    progress_bar: bool = True
    """A live bar on a terminal; one line per epoch otherwise."""


@dataclass(kw_only=True)
class DevicesConfig(Group):
    """How many processes, each with a device, train one network; changes nothing in what is computed but rounding."""

    replicas: int | None = limited(1, ge=1)
    """Copies of the network, each of which sees its part of every batch (data parallelism). None: one for each GPU, two
    on a CPU, or as many as torchrun or srun has started."""
    model_parallel: bool = False
    """Whether each copy is divided among two devices, a column on each, as in 2012 (section 3.2)."""

    @property
    def per_replica(self) -> int:
        """How many devices hold one network."""
        return 2 if self.model_parallel else 1


@dataclass(kw_only=True)
class WandbConfig(Group):
    """Weights & Biases."""

    mode: str = limited("offline", choices=("offline", "online", "disabled"))
    """`offline` writes into the run folder for a later `wandb sync`; `online` needs a login."""
    project: str = "alexnet-ablations"
    entity: str | None = None
