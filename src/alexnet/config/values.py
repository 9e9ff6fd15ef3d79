"""Every value that can be configured: its name, type and limits. A new one is declared in its group here.

`conf/` gives the values, each with its reason; a key that is not declared does not exist. The groups are dataclasses,
which OmegaConf reads as structured configs. `alexnet.config.schema` puts them together.
"""

import re
from dataclasses import dataclass, field
from typing import Literal, get_args

from alexnet.config.fields import MISSING, Group, limited, require

CONV_LAYERS = (1, 2, 3, 4, 5)
FC_LAYERS = (6, 7)
POOLED = (1, 2, 5)
"""Convolutions followed by a pooling layer (section 3.5)."""
ALEXNET = "alexnet"
ENCODINGS = ("auto", "raw", "jpeg")
SUBSAMPLINGS = ("444", "422", "420")
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")
"""Torch's names; `reduce-overhead` uses CUDA graphs."""
TWO_COLUMNS = ("two", "isolated")
"""The values of `columns.kind` with two columns."""


@dataclass
class ArchitectureConfig(Group):
    """Which network: the paper's, or one of the CIFAR-10 nets of the authors' software (`alexnet.net.cifar`)."""

    name: str = limited(ALEXNET, choices=(ALEXNET, "cifar_80sec", "cifar_19pct", "cifar_13pct", "cifar_11pct"))


@dataclass
class ScaleConfig(Group):
    """Size of the images and of the network."""

    image_size: int = limited(ge=1)  # side of the square images in the pack, pixels
    crop_size: int = limited(ge=1)  # side of the square that the network sees, pixels
    conv1_kernel: int = limited(ge=1)
    conv1_stride: int = limited(ge=1)
    conv1_padding: int = limited(ge=0)  # zeros on the left and top; the others follow from rounding the map size up
    channels: list[int] = MISSING  # kernels of conv1 to conv5, both columns together
    fc_width: int = limited(ge=2)  # units of fc6 and of fc7, both columns together

    def check_relations(self) -> None:
        require(
            self.crop_size <= self.image_size,
            f"scale.crop_size={self.crop_size} is larger than scale.image_size={self.image_size}",
        )
        require(
            self.conv1_stride <= self.conv1_kernel,
            f"scale.conv1_stride={self.conv1_stride} is larger than scale.conv1_kernel={self.conv1_kernel}",
        )
        require(
            len(self.channels) == len(CONV_LAYERS) and all(count > 0 and count % 8 == 0 for count in self.channels),
            f"scale.channels={self.channels}: give five numbers of kernels, each a multiple of 8",
        )
        require(self.fc_width % 2 == 0, f"scale.fc_width={self.fc_width}: must be even")


@dataclass
class ColumnsConfig(Group):
    """How the network is divided (section 3.2): the paper's two columns, its one-GPU net, two columns without exchange
    before the classifier, or one undivided net with all of the paper's kernels."""

    kind: str = limited(choices=("two", "one", "isolated", "ungrouped"))


@dataclass
class LrnConfig(Group):
    """Local response normalization (section 3.3)."""

    layers: list[int] = limited(layers=CONV_LAYERS)  # convolutions whose output is normalized
    size: int = limited(ge=1, le=511, odd=True)  # neighboring channels in the window, n
    k: float = limited(gt=0)
    alpha: float = limited(ge=0)
    beta: float = limited(ge=0)
    divide_alpha: bool = MISSING  # by n, as in the 2012 source; the printed formula does not
    across_columns: bool = False  # whether windows cross columns; the 2012 source normalizes each by itself
    after_pooling: bool = False  # whether pooling comes first, as in some later implementations


@dataclass
class WithinChannelLrnConfig(Group):
    """The normalization within a channel that the 2012 source adds and the paper does not mention: each activity is
    divided by (1 + alpha / size^2 * sum of the squares in the size x size pixels around it)^beta."""

    layers: list[int] = limited([], layers=CONV_LAYERS)  # convolutions whose output it follows, after their LRN
    size: int = limited(5, ge=1, odd=True)  # side of the window, pixels
    alpha: float = limited(1e-3, ge=0)
    beta: float = limited(0.75, ge=0)


@dataclass
class ReluPositionConfig(Group):
    """The place of the ReLU, or another activation, in a layer with LRN and pooling."""

    after_pooling: list[int] = limited([], layers=POOLED)  # it follows these layers' pooling, not the convolution


@dataclass
class PoolingConfig(Group):
    """Max-pooling after layers 1, 2 and 5 (section 3.4)."""

    size: int = limited(ge=1)  # side of the window, z
    stride: int = limited(ge=1)  # distance between windows, s; s < z overlaps

    def check_relations(self) -> None:
        require(self.stride <= self.size, f"pooling.stride={self.stride} is larger than pooling.size={self.size}")


@dataclass
class ActivationConfig(Group):
    """The activation function (section 3.1)."""

    name: str = limited(choices=("relu", "tanh", "sigmoid", "abs_tanh"))


@dataclass
class DropoutConfig(Group):
    """Dropout, not inverted: masked in training, outputs scaled down at test (section 4.2)."""

    layers: list[int] = limited(layers=FC_LAYERS)  # fully connected layers whose outputs are dropped
    probability: float = limited(ge=0, lt=1)  # of dropping a unit


@dataclass
class DepthConfig(Group):
    """Which convolutions exist (sections 1, 6 and 7)."""

    remove: list[int] = limited(layers=CONV_LAYERS)
    sixth_conv: bool = MISSING  # after the last pooling layer

    def check_relations(self) -> None:
        require(len(self.remove) <= 1, f"depth.remove={self.remove}: at most one layer can be left out")


@dataclass
class ClassifierConfig(Group):
    """What lies between fc7 and the classes."""

    bottleneck: bool = False  # a linear layer, half as wide as fc7, below the classifier (2012 source, net 146-2011)


@dataclass
class PretrainedConfig(Group):
    """Weights to start from instead of random ones: "pre-training" and "fine-tuning" (section 6)."""

    checkpoint: str | None = None  # run directory or checkpoint; None initializes all weights
    reinit: list[str] = limited([], unique=True)  # layers that are initialized all the same, such as fc8


@dataclass
class InitConfig(Group):
    """Weights and biases before the first step (section 5)."""

    std: float = limited(gt=0)  # of the normal weights in every layer but conv3 to conv5, at the paper's fan-in
    std_conv3_to_5: float = limited(gt=0)  # the same for conv3, conv4, conv5, and a sixth convolution
    preserve_gain: bool = MISSING  # scale each std by sqrt(paper's fan-in / this network's)
    bias: float = MISSING  # of conv2, conv4, conv5, fc6, fc7 (and of a sixth convolution); 0 elsewhere


@dataclass
class CropsConfig(Group):
    """The first form of augmentation: random crops and horizontal reflections (section 4.1)."""

    random: bool = MISSING  # a random offset in training; the center otherwise
    flip: bool = MISSING  # with probability 1/2 in training
    include_last_offset: bool = MISSING  # 33 x 33 offsets of 224 in 256, not 32 x 32
    images_per_crop: int = limited(1, ge=1)  # consecutive images of an epoch that share one offset and one flip
    center_mean: bool = False  # subtract the center of the mean image from every crop, whatever its offset and flip


@dataclass
class ShuffleConfig(Group):
    """The order of the training images."""

    each_epoch: bool = True  # draw it again for each epoch; otherwise batches keep their images


@dataclass
class ColorConfig(Group):
    """The second form of augmentation: noise along the principal directions of the pixels' colors (section 4.1)."""

    std: float = limited(ge=0)  # of the random multiplier; 0 switches the noise off
    magnitude: str = limited(choices=("std", "eigenvalue"))  # what it multiplies: 2012 source, or as printed
    rescale: bool = False  # divide images with noise by 1 + std, so that their scale does not grow


@dataclass
class OptimizerConfig(Group):
    """The 2012 momentum rule (section 5)."""

    lr: float = limited(gt=0)  # initial learning rate, epsilon
    momentum: float = limited(ge=0, lt=1)
    weight_decay: float = limited(ge=0)
    decay_biases: bool = MISSING
    weight_decay_multipliers: dict[str, float] = limited({}, ge=0)  # by layer; 1 for layers that are not named
    bias_lr_multiplier: float = limited(1.0, gt=0)
    lr_multipliers: dict[str, float] = limited({}, ge=0)  # by layer; 1 if not named, 0 for one that does not learn
    batch_size: int = limited(ge=1)  # images per update, of all processes together


ScheduleKind = Literal["multistep", "plateau", "cosine"]


@dataclass
class ScheduleConfig(Group):
    """When the learning rate falls, and when training stops: `multistep`, at given epochs; `plateau`, when the
    validation error stops improving; `cosine`, a little each epoch along half a cosine."""

    kind: str = limited(choices=get_args(ScheduleKind))
    factor: float = limited(gt=1)  # divisor of the learning rate at each drop
    epochs: int = limited(ge=1)  # length of training; for plateau its upper limit
    milestones: list[int] = MISSING  # multistep: epochs, counted from 0, at whose start the learning rate drops
    max_lr_drops: int = limited(ge=0)  # plateau: drops before training ends at the next plateau
    patience: int = limited(ge=1)  # plateau: epochs without a new best validation error that make a plateau
    warmup_epochs: int = limited(0, ge=0)  # cosine: first epochs, in which the learning rate rises
    rescale_to_epochs: int | None = limited(None, ge=1)  # multistep: stretch or shrink to this; milestones move along
    stop_at_train_error: float | None = limited(None, ge=0, lt=100)
    """Stop after the epoch at whose end the top-1 error over all training images, unaugmented and in evaluation mode,
    is at most this many percent. None neither stops nor measures that error."""

    def check_relations(self) -> None:
        # A short training can bring two drops to one epoch, at which both are made.
        distinct = self.milestones if self.rescale_to_epochs == self.epochs else set(self.milestones)
        rising = self.milestones == sorted(distinct) and all(epoch > 0 for epoch in self.milestones)
        require(rising, f"schedule.milestones={self.milestones}: give rising epochs, the first above 0")
        require(
            self.warmup_epochs == 0 or (self.kind == "cosine" and self.warmup_epochs < self.epochs),
            f"schedule.warmup_epochs={self.warmup_epochs}: schedule=cosine alone has a warm-up, shorter than its"
            f" {self.epochs} epochs",
        )
        require(
            self.rescale_to_epochs is None or self.kind == "multistep",
            f"schedule.rescale_to_epochs={self.rescale_to_epochs}: only a schedule of fixed epochs can be"
            " rescaled, such as schedule=log_2012",
        )

    def rescale(self) -> None:
        """Move the milestones and the end; does nothing if they are already where they should be."""
        if (epochs := self.rescale_to_epochs) is not None:
            self.milestones = scaled_milestones(self.milestones, of=self.epochs, to=epochs)
            self.epochs = epochs


def scaled_epoch(epoch: int, *, of: int, to: int) -> int:
    """Return the epoch of a training `to` epochs long that corresponds to one of a training `of` epochs long."""
    return round(epoch * to / of)


def scaled_milestones(milestones: list[int], *, of: int, to: int) -> list[int]:
    """Return the epochs at which the learning rate drops, in a training of another length; none at the very start."""
    return [max(1, scaled_epoch(epoch, of=of, to=to)) for epoch in milestones]


@dataclass
class LateChangesConfig(Group):
    """What the 2012 source changes late in training, besides the learning rate (its parameter files' notes)."""

    of_epochs: int = limited(91, ge=1)  # training to which the epochs below belong; scaled to schedule.epochs
    layers: list[int] = limited([], layers=CONV_LAYERS)  # their learning rate drops once more, then they are frozen
    # `conf/config.yaml` has an epoch less for both: a run's name leaves out what is at the default, and so does that of
    # runs made with these.
    lr_drop_epoch: int = limited(67, ge=0)  # divides the layers' learning rate by schedule.factor once more
    freeze_epoch: int = limited(72, ge=0)  # from which on they are not updated
    color_off_epoch: int | None = limited(None, ge=0)  # ends the PCA color augmentation; None keeps it to the end
    bias_milestones: list[int] | None = None  # the biases' own drops; None: with the weights'

    def check_relations(self) -> None:
        fits = all(epoch >= 0 for epoch in self.bias_milestones or ())
        require(fits, f"late_changes.bias_milestones={self.bias_milestones}: epochs are counted from 0")

    @property
    def names_epochs(self) -> bool:
        """Whether anything happens at a given epoch, for which the length of training must be known."""
        return bool(self.layers or self.bias_milestones) or self.color_off_epoch is not None


@dataclass
class ShapesConfig(Group):
    """Size of the drawn dataset; see `alexnet.data.sources.shapes`."""

    train_per_class: int = limited(150, ge=1, le=10**5)
    val_per_class: int = limited(20, ge=1, le=10**5)
    test_per_class: int = limited(50, ge=1, le=10**5)
    seed: int = limited(2012, ge=0, lt=2**53)  # of the drawing, not of the run: every run sees the same images


@dataclass
class DataConfig(Group):
    """Which images, and how a pack made on first use keeps them: as that changes the pixels, it makes other runs."""

    name: str = limited(
        choices=("shapes", "cifar10", "tiny_imagenet", "folder", "ilsvrc2010", "ilsvrc2012", "fall2009", "fall2011")
    )
    root: str | None = None  # a pack, class folders, or an archive; None: the set's own source, drawn or downloaded
    packs: str = "packs"  # folder for packs that are made on first use
    val_fraction: float = limited(0.1, gt=0, lt=1)  # of the training images, if the source has no validation split
    test_fraction: float = limited(0.0, ge=0, lt=1)  # of all images, held out first, if it has no test split
    encoding: str = limited("auto", choices=ENCODINGS)  # auto: raw up to 4 GiB, else jpeg
    quality: int = limited(90, ge=1, le=100)  # of JPEG
    chroma_subsampling: str = limited("420", choices=SUBSAMPLINGS)
    decoder: str = limited("cpu", choices=("cpu", "nvjpeg"))  # of JPEG packs; they differ by more than rounding
    shapes: ShapesConfig = field(default_factory=ShapesConfig)


@dataclass
class HardwareConfig(Group):
    """Where and how a run computes; no value here changes what is computed, except by rounding."""

    accelerator: str = limited("auto", choices=("auto", "cpu", "gpu"))
    threads: int | None = limited(None, ge=1)  # CPU threads of one run; None leaves torch's choice
    loader_threads: int | None = limited(None, ge=1)  # None: one for a CPU, every core for a GPU
    precision: str = limited("32-true", choices=("32-true", "bf16-mixed", "auto"))  # bf16: training's products alone
    deterministic: bool = False  # bit for bit also on an NVIDIA GPU, for some of its speed
    compile: bool = False  # by torch: pays on a GPU, and costs minutes at the start
    compile_mode: str = limited("default", choices=COMPILE_MODES)
    matmul: str = limited("default", choices=("default", "onednn"))  # of float32 on a CPU; the default is torch's, MKL
    allocator: str = limited("default", choices=("default", "tuned"))  # tuned keeps large tensors' memory (glibc)
    accumulate_grad_batches: int = limited(1, ge=1)  # turns in which a batch is computed; an update is one of the whole
    eval_batch_size: int = limited(256, ge=1)  # images; on a CPU each counts ten times under ten-crop
    progress_bar: bool = True  # on a terminal; one line per epoch otherwise


@dataclass
class DevicesConfig(Group):
    """How many processes, each with a device, train one network; changes nothing in what is computed but rounding."""

    replicas: int | None = limited(1, ge=1)
    """Copies of the network, each of which sees its part of every batch (data parallelism). None: one for each GPU, two
    on a CPU, or as many as torchrun or srun has started."""
    model_parallel: bool = False  # divide each copy among two devices, a column on each, as in 2012 (section 3.2)

    @property
    def per_replica(self) -> int:
        """How many devices hold one network."""
        return 2 if self.model_parallel else 1


@dataclass
class TrainerConfig(Group):
    """Options of Lightning's trainer, under their names there. What changes no number is in `NON_IDENTITY_KEYS`."""

    fast_dev_run: bool | int = limited(False, ge=0)  # so many batches of everything; nothing of it is kept
    limit_train_batches: int | float | None = limited(None, gt=0)
    limit_val_batches: int | float | None = limited(None, gt=0)
    limit_test_batches: int | float | None = limited(None, gt=0)
    """Use so many batches of `optimizer.batch_size` images, or a share of the images if it is a fraction: the same on
    any number of devices. None and 1.0 use all."""
    max_time: str | None = None  # DD:HH:MM:SS, after which training ends and the network is tested
    gradient_clip_val: float | None = limited(None, gt=0)
    gradient_clip_algorithm: str = limited("norm", choices=("norm", "value"))
    profiler: str | None = limited(None, choices=("simple", "advanced", "pytorch"))  # profile/ in the run directory
    detect_anomaly: bool = False
    log_every_n_steps: int | None = limited(None, ge=1)  # the loss of single steps to the loggers; None: epochs alone

    def check_relations(self) -> None:
        for part in ("train", "val", "test"):
            limit = getattr(self, name := f"limit_{part}_batches")
            whole = not isinstance(limit, float) or limit <= 1
            require(whole, f"trainer.{name}={limit}: give a whole number of batches, or a share of at most 1.0")
        fits = self.max_time is None or re.fullmatch(r"(?=.*[1-9])\d{1,5}:\d\d:\d\d:\d\d", self.max_time)
        require(bool(fits), f"trainer.max_time={self.max_time}: give days:hours:minutes:seconds, such as 00:08:00:00")


def limited_images(images: int, limit: int | float | None, *, batch_size: int) -> int:
    """Return how many of some images a limit of the trainer leaves."""
    if limit is None:
        return images
    return min(images, max(1, int(limit * images)) if isinstance(limit, float) else limit * batch_size)


@dataclass
class StudyConfig(Group):
    """The study that a run belongs to."""

    plan: str | None = None  # file of its plan; alone on the command line it starts the next look of the study
    runs_at_once: int | None = limited(None, ge=1)
    """Runs of a sweep side by side on this machine. None: on CPUs as many as there are processors, one on a GPU."""


@dataclass
class WandbConfig(Group):
    """Weights & Biases. None is what the environment says: `alexnet.runs.wandb_names.destination`."""

    mode: str | None = limited("disabled", choices=("offline", "online", "disabled"))
    project: str | None = None
    entity: str | None = None  # user or team
    artifacts: bool = False  # the last checkpoint, the predictions and the table of errors too


@dataclass
class LoggersConfig(Group):
    """Where the curves of a run go besides its `metrics.csv`; each choice of the group adds one place."""

    wandb: WandbConfig = field(default_factory=WandbConfig)
    csv: bool = False  # Lightning's CSV file
    tensorboard: bool = False
