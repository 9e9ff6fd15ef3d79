"""How a run computes: device, threads, memory, precision and compilation (`hardware.*`, docs/speed.md).

`TwoDevicesStrategy` is that of a network divided between two devices, and copies of it (section 3.2). Two consecutive
processes hold one network. Checkpoints are those of one device, model and velocities alike, so that either can continue
the other's.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from alexnet import devices
from alexnet.config.schema import Config
from alexnet.config.values import HardwareConfig
from alexnet.data.threads import available_cpus
from alexnet.errors import UserError, plural
from alexnet.net.halves import DEVICES
from alexnet.net.specs import Layer, Parametric, PoolSpec, total_parameters
from alexnet.net.two_devices import ColumnShard
from alexnet.sharding import Replica
from alexnet.training.distributed import SINGLE_PROCESS, DistributedContext
from alexnet.training.module import AlexNetModule

MALLOPT = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, -1), "M_TOP_PAD": (-2, 2**28)}
"""Parameters of glibc's allocator (malloc.h) and their values: no memory of its own for a large tensor, none given back
to the system, and 256 MiB more whenever there is too little."""

TORCH_THREADS = torch.get_num_threads()
"""Torch's own choice, before anything sets it: the cores of the affinity, or OMP_NUM_THREADS."""
THREADS_ANYWHERE = 16
"""Threads that may be asked for on any machine, to compute as a larger one does."""
BYTES_OF_PARAMETER = 16
"""Float32 of a weight, its gradient and its velocity, and a copy in use."""
BYTES_OF_OUTPUT = 20
"""Float32 of a layer's output, of what its activation or norm makes of it, and of their gradients, and a copy."""


def check_hardware(hardware: HardwareConfig) -> None:
    """Refuse what this machine cannot do; a `UserError`."""
    device = devices.choose_device(hardware.accelerator)
    devices.check_device(device)
    if hardware.matmul == "onednn" and device.type != "cpu":
        raise UserError(f"hardware.matmul=onednn is for a CPU, and this run computes on {device.type}; choose default")
    for name in ("threads", "loader_threads"):
        if (count := getattr(hardware, name) or 0) > most_threads():
            found = plural(available_cpus(), "processor")
            raise UserError(f"hardware.{name}={count}: this run may use {found}; choose null, which fits them")
    if hardware.deterministic and not devices.has_deterministic_kernels(device):
        raise UserError(f"hardware.deterministic=true: torch has no such kernels for {device.type}; choose false")
    if hardware.deterministic and hardware.compile and "max-autotune" in hardware.compile_mode:
        raise UserError(
            f"hardware.deterministic=true: compile_mode={hardware.compile_mode} chooses kernels by their time; choose"
            " default or reduce-overhead"
        )
    if hardware.allocator == "tuned" and _mallopt() is None:
        raise UserError("hardware.allocator=tuned sets up glibc's allocator, and there is none here; choose default")
    if hardware.matmul == "onednn":
        _set_matmul("onednn")
        if not _matmul_is_float32():
            _set_matmul("default")
            raise UserError("hardware.matmul=onednn multiplies in bfloat16 on this processor; choose default")


def precision(hardware: HardwareConfig) -> str:
    """Return the precision in Lightning's words; `auto` is bfloat16 where the device computes it."""
    if hardware.precision != "auto":
        return hardware.precision
    return "bf16-mixed" if devices.multiplies_bfloat16(devices.choose_device(hardware.accelerator)) else "32-true"


def rounding_facts(hardware: HardwareConfig) -> dict[str, str]:
    """Return the settings that change the last bits of training and that the process does not show, by their names."""
    return {
        "compile": hardware.compile_mode if hardware.compile else "false",
        "accumulate_grad_batches": str(hardware.accumulate_grad_batches),
    }


def check_decoder(config: Config) -> None:
    """Refuse `data.decoder=nvjpeg` without a GPU; a `UserError`."""
    if config.data.decoder == "nvjpeg" and (config.hardware.accelerator == "cpu" or not torch.cuda.is_available()):
        raise UserError("data.decoder=nvjpeg decodes on an NVIDIA GPU, and this run has none; choose cpu")


def most_threads() -> int:
    return max(THREADS_ANYWHERE, available_cpus())


def thread_count(hardware: HardwareConfig, world: DistributedContext = SINGLE_PROCESS) -> int:
    """Return the CPU threads of a process: a function of its machine and configuration, not of what else runs there.

    Their number decides the last bits of sums.
    """
    if hardware.threads is not None:
        return hardware.threads
    share = max(1, available_cpus() // world.processes_on_host)
    return share if world.processes_on_host > 1 else min(TORCH_THREADS, share)


def configure_process(
    hardware: HardwareConfig, world: DistributedContext = SINGLE_PROCESS, *, threads: int | None = None
) -> None:
    """Set the threads, the allocator and the library of matrix products, for the whole process.

    A resumed run computes with the `threads` that it began with, unless it is told otherwise.
    """
    _set_matmul(hardware.matmul)
    devices.use_exact_float32()
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads it
    if hardware.compile or devices.has_triton(devices.choose_device(hardware.accelerator)):
        # Torch keeps eight compiled versions of a function: the ninth network of a sweep would not be compiled.
        torch.compiler.reset()
    torch.set_num_threads(hardware.threads or threads or thread_count(hardware, world))
    if hardware.allocator == "tuned":
        mallopt = _mallopt()
        assert mallopt is not None
        for parameter, value in MALLOPT.values():
            mallopt(parameter, value)


class OwnDeviceEnvironment(TorchElasticEnvironment):
    """Processes of which each sees one device."""

    def local_rank(self) -> int:
        return 0


def trainer_options(
    hardware: HardwareConfig, world: DistributedContext = SINGLE_PROCESS, *plugins: CheckpointIO
) -> dict[str, Any]:
    """Return options for Lightning's trainer."""
    device = devices.choose_device(hardware.accelerator)
    options: dict[str, Any] = {
        "accelerator": device.type,
        "precision": precision(hardware),
        "deterministic": hardware.deterministic,  # cuBLAS's workspace, cuDNN's and torch's own kernels
        "accumulate_grad_batches": hardware.accumulate_grad_batches,
    }
    if world.size == 1:
        # Named explicitly: on Slurm, Lightning would otherwise requeue jobs itself.
        return options | {"devices": 1, "plugins": [LightningEnvironment(), *plugins]}
    # srun --gpus-per-task=1 shows each process its own GPU, as number 0.
    own_gpu = device.type == "cuda" and devices.gpu_count() == 1
    environment = OwnDeviceEnvironment() if own_gpu else TorchElasticEnvironment()
    kind = TwoDevicesStrategy if world.devices > 1 else DDPStrategy
    strategy = kind(cluster_environment=environment, **DDP_OPTIONS)
    local_size = 1 if own_gpu else world.local_size
    nodes = {"devices": local_size, "num_nodes": world.size // local_size}
    return options | nodes | {"strategy": strategy, "plugins": [*plugins]}


def compile_if_wanted(net: nn.Module, hardware: HardwareConfig) -> None:
    """Let torch compile the network at its first batch, in place: its parameters keep their names."""
    if hardware.compile:
        net.compile(mode=hardware.compile_mode)


@contextmanager
def one_line_if_out_of_memory(trainer: L.Trainer, module: AlexNetModule) -> Iterator[None]:
    """Replace an error for lack of memory by a `UserError` that names the remedy."""
    try:
        yield
    except Exception as error:
        if not devices.is_out_of_memory(error):
            raise
        device, config = trainer.strategy.root_device, module.config
        hardware = config.hardware
        if not module.training:
            remedy = f"add hardware.eval_batch_size={max(1, hardware.eval_batch_size // 4)}"
            if hardware.eval_batch_size == 1:
                remedy = "not even one image fits: choose a smaller scale or another device"
            raise UserError(f"out of memory on {device} in evaluation: {remedy}") from error
        replicas = trainer.world_size // config.devices.per_replica
        held = Replica(count=replicas).part(config.optimizer.batch_size, turns=hardware.accumulate_grad_batches).count
        fitting = min(held // 2, images_that_fit(module.net.specs, devices.memory_bytes(device)))
        if fitting < 1:
            remedy = "not even a few images fit: choose a smaller scale or another device"
        else:
            turns = -(-config.optimizer.batch_size // (fitting * replicas))
            remedy = f"about {fitting} would fit: add hardware.accumulate_grad_batches={turns}, which trains the same"
        raise UserError(f"out of memory on {device} with {held} images at a time; {remedy}") from error


def images_that_fit(layers: tuple[Layer, ...], memory: int) -> int:
    """Estimate how many images a network can train on at a time in so many bytes."""
    outputs = sum(layer.channels * layer.size**2 for layer in layers if isinstance(layer, Parametric | PoolSpec))
    left = 0.9 * memory - BYTES_OF_PARAMETER * total_parameters(layers)
    return max(0, int(left // (BYTES_OF_OUTPUT * outputs)))


def _set_matmul(choice: str) -> None:
    """Torch's way to oneDNN's float32 products is to allow it bfloat16, which it uses on processors with AMX alone."""
    torch.backends.mkldnn.matmul.fp32_precision = "bf16" if choice == "onednn" else "none"  # type: ignore[attr-defined]


def _matmul_is_float32() -> bool:
    """Whether a product is as exact as float32 allows, not to some hundredths of a percent."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(512, 512, generator=generator) for _ in range(2))
    exact = one.double() @ other.double()
    return bool(((one @ other).double() - exact).norm() < 1e-5 * exact.norm())


def _mallopt() -> Any | None:
    """glibc's function of that name; None on other systems."""
    try:
        return ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # musl, macOS, Windows
        return None


BUFFER = "momentum_buffer"
"""Torch's name for a parameter's velocity."""
NET = "net."
"""Prefix of the network's parameters in the module's state."""
DDP_OPTIONS: dict[str, Any] = {"broadcast_buffers": False, "gradient_as_bucket_view": True}
"""The mean image, the only buffer, is the same everywhere."""
Change = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]


class TwoDevicesStrategy(DDPStrategy):
    """Processes in a mesh of copies x columns; the gradients of a column are averaged over its copies.

    The module's `net` is a `ColumnShard`. Saving a checkpoint takes all processes, as Lightning does it.
    """

    _mesh: DeviceMesh | None = None

    def setup_environment(self) -> None:
        super().setup_environment()
        if self._mesh is None:
            shape = (self.world_size // DEVICES, DEVICES)
            self._mesh = init_device_mesh(self.root_device.type, shape, mesh_dim_names=("copy", "column"))

    def setup(self, trainer: L.Trainer) -> None:
        assert self._mesh is not None and self.accelerator is not None and self.model is not None
        self._net.connect(self._mesh.get_group("column"), self.root_device)
        if trainer.state.fn == TrainerFn.FITTING:
            super().setup(trainer)
            return
        # Not DDP's own, which sends the first process's weights to all others before a test.
        self.accelerator.setup(trainer)
        self.model = self.precision_plugin.convert_module(self.model)
        self.model_to_device()
        self.setup_precision_plugin()

    def configure_ddp(self) -> None:
        assert self._mesh is not None and self.model is not None
        if self._mesh.size(0) > 1:
            self.model = DistributedDataParallel(
                self.model,
                device_ids=self.determine_ddp_device_ids(),
                process_group=self._mesh.get_group("copy"),
                **DDP_OPTIONS,
            )

    @property
    def _net(self) -> ColumnShard:
        assert self.lightning_module is not None
        net = self.lightning_module.net
        assert isinstance(net, ColumnShard)
        return net

    def lightning_module_state_dict(self) -> dict[str, Any]:
        return _of_net(super().lightning_module_state_dict(), self._net.full_state)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        super().load_model_state_dict({"state_dict": _of_net(checkpoint["state_dict"], self._net.shard_state)}, strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        return self._velocities(super().optimizer_state(optimizer), optimizer, self._net.full_state)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        pairs = zip(checkpoint["optimizer_states"], self.optimizers, strict=True)
        states = [self._velocities(state, optimizer, self._net.shard_state) for state, optimizer in pairs]
        super().load_optimizer_state_dict({"optimizer_states": states})

    def _velocities(self, saved: dict[str, Any], optimizer: Optimizer, change: Change) -> dict[str, Any]:
        """Change the velocities in an optimizer's state, which knows parameters by their place in its groups."""
        names = {parameter: name for name, parameter in self._net.named_parameters()}
        order = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
        state = saved["state"]
        changed = change({order[place]: entry[BUFFER] for place, entry in state.items()})
        moved = {place: entry | {BUFFER: changed[order[place]]} for place, entry in state.items()}
        return saved | {"state": moved}


def _of_net(state: Mapping[str, Any], change: Change) -> dict[str, Any]:
    """Change the tensors of the network's parameters in a module's state."""
    changed = change({name.removeprefix(NET): tensor for name, tensor in state.items() if name.startswith(NET)})
    return {**state, **{NET + name: tensor for name, tensor in changed.items()}}
