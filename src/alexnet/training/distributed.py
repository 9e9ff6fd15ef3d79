"""The processes that train one network together: how many, which one this is, their start and their end.

They find each other by the environment variables of torchrun, whether torchrun, srun or the run itself has started
them. The run does not use torch's own launcher (`torch.distributed.launcher`): it sends a Ctrl-C to processes that have
had it from the terminal already, and an error arrives as text, without its type.
"""

import io
import logging
import multiprocessing as mp
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from rich.console import Console
from torch.multiprocessing.spawn import ProcessContext, ProcessExitedException, ProcessRaisedException, start_processes

from alexnet.config.schema import Config
from alexnet.data.threads import available_cpus
from alexnet.devices import choose_device, gpu_count
from alexnet.errors import UserError
from alexnet.files import exclusive
from alexnet.processes import RANKS, end_processes, follow_parent, launched, signals_unwind, starting
from alexnet.runs.directory import FIRST_LOCK
from alexnet.sharding import Replica
from alexnet.terminal import Terminal, lasting_output

Held = TypeVar("Held")
REPLICAS_ON_CPU = 2
"""Copies of the network that `devices=ddp` trains without a GPU: enough to try it."""
REPLICAS_PER_CPU = 4
"""Copies for each CPU, above which they would only wait for each other."""


@dataclass(frozen=True, kw_only=True)
class DistributedContext:
    """This process among those that train one network."""

    rank: int = 0
    size: int = 1
    local_size: int = 1
    """Processes on this machine."""
    devices: int = 1
    """Consecutive processes that hold one network, a column each."""
    runs: int = 1
    """Runs on this machine at once."""

    @property
    def processes_on_host(self) -> int:
        """Processes that share this machine's cores, this one included."""
        return self.local_size * self.runs

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process writes the files and prints."""
        return self.rank == 0

    @property
    def replica(self) -> Replica:
        return Replica(index=self.rank // self.devices, count=self.size // self.devices)

    @property
    def column(self) -> int:
        """The column of that copy that this process holds; 0 if it holds the whole."""
        return self.rank % self.devices


SINGLE_PROCESS = DistributedContext()


def requested_world_size(config: Config) -> int:
    """Count the processes that the configuration asks for; by default one per GPU, or two copies on a CPU."""
    devices, replicas, gpus = config.devices.per_replica, config.devices.replicas, _gpus(config)
    if replicas is None:
        replicas = max(1, gpus // devices) if gpus else REPLICAS_ON_CPU
    return devices * replicas


def check_gpus(config: Config) -> None:
    """Refuse (`UserError`) more processes than there are GPUs, or than CPUs can hold, if the run starts them itself."""
    gpus, wanted = _gpus(config), requested_world_size(config)
    if wanted > 1 and choose_device(config.hardware.accelerator).type == "mps":
        raise UserError("Apple's GPU trains one network in one process: add devices=single or hardware.accelerator=cpu")
    if external_launch() is not None:
        return
    if not gpus and wanted > (most := REPLICAS_PER_CPU * available_cpus()):
        raise UserError(f"devices.replicas={config.devices.replicas}: this machine's CPUs can hold {most} at most")
    if 0 < gpus < wanted:
        found, devices = "is 1" if gpus == 1 else f"are {gpus}", config.devices.per_replica
        raise UserError(
            f"devices.replicas={wanted // devices}, {devices} for each: this takes {wanted} GPUs, and there {found}:"
            " choose devices=single, fewer devices.replicas, or hardware.accelerator=cpu"
        )


def _gpus(config: Config) -> int:
    return 0 if config.hardware.accelerator == "cpu" else gpu_count()


def detect(config: Config) -> DistributedContext:
    """Return this process's place among those of torchrun or srun; `SINGLE_PROCESS` without them.

    UserError: their number is not what the configuration asks for.
    """
    if (world := external_launch()) is None:
        return SINGLE_PROCESS
    replicas, devices = config.devices.replicas, config.devices.per_replica
    if replicas is not None and replicas * devices != world.size:
        raise UserError(
            f"{world.size} processes were started for a run that wants devices.replicas={replicas}, {devices} for each:"
            " add devices=ddp to train one network with all of them"
        )
    if world.size % devices:
        raise UserError(f"{world.size} processes cannot be divided into pairs for devices=model_parallel")
    return replace(world, devices=devices)


def all_gather_objects(mine: Held) -> list[Held]:
    """Gather an object from each process that trains the network, by rank; all of them must call it."""
    if not dist.is_initialized():
        return [mine]
    everybody: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everybody, mine)
    return everybody


def external_launch() -> DistributedContext | None:
    """Return this process's place according to torchrun's or srun's variables; None if it is the only one.

    UserError: they are incomplete, or contradict each other.
    """
    try:
        _translate_slurm()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        if missing := [name for name in names if name not in os.environ]:
            if any(map(launched, RANKS)):
                raise KeyError(missing[0])
            return None
        rank, size, local_rank, local_size, _ = map(launched, (*names, "MASTER_PORT"))
        if not (0 <= rank < size and 0 <= local_rank < local_size <= size):
            raise ValueError(f"process {rank} of {size}")
    except (KeyError, ValueError) as error:
        given = "the variables of srun or torchrun for this process are incomplete or contradict each other"
        remedy = f"unset {', '.join(RANKS)} and SLURM_STEP_NUM_TASKS to run it as a single one"
        raise UserError(f"{given} ({error}): {remedy}") from None
    if size == 1:
        return None
    return DistributedContext(rank=rank, size=size, local_size=local_size)


def _translate_slurm() -> None:
    """Translate srun's variables to torchrun's.

    Only srun sets those of a step: a batch script that asks for several tasks but calls python directly is one process.
    """
    tasks = os.environ.get("SLURM_STEP_NUM_TASKS", "1")
    if tasks == "1" or "RANK" in os.environ:
        return
    per_node = os.environ["SLURM_STEP_TASKS_PER_NODE"]
    uniform = re.fullmatch(r"(\d+)(\(x\d+\))?", per_node)  # `4(x2)`: two nodes of four tasks each
    if uniform is None:
        raise UserError(f"srun has started {per_node} processes on its nodes: start the same number on each")
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

    slurm = SLURMEnvironment(auto_requeue=False)
    os.environ |= {
        "RANK": os.environ["SLURM_PROCID"],
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": os.environ["SLURM_LOCALID"],
        "LOCAL_WORLD_SIZE": uniform[1],
        "MASTER_ADDR": slurm.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"]),
        "MASTER_PORT": str(slurm.main_port),
    }


LOCALHOST = "127.0.0.1"


class RankError(RuntimeError):
    """One of the processes failed."""


def run_in_ranks(body: Callable[[Console], None], directory: Path, size: int, *, console: Console) -> None:
    """Call `body` in `size` processes of this machine. When one fails or dies, all end.

    UserError: one of them raised it, or was killed. RankError: one failed otherwise.
    """
    # The parent holds the store by which they find each other, so that no other program can take its port.
    store = dist.TCPStore(LOCALHOST, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    logs = [log.baseFilename for log in logging.getLogger().handlers if isinstance(log, logging.FileHandler)]
    environment = {
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": LOCALHOST,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # torchrun's way to say that another process holds the store
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    screen = None if console.file is sys.stdout else getattr(console.file, "name", None)
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # reports every process that it ends
    with signals_unwind(), ExitStack() as stack:
        with starting():
            errors: SimpleQueue[Exception] = mp.get_context("spawn").SimpleQueue()
            told = (body, directory, environment, screen, console.width, logs[0] if logs else None, errors)
            context = start_processes(_rank, told, nprocs=size, join=False)  # type: ignore[no-untyped-call]
            assert context is not None
            stack.callback(end_processes, context.processes)
        try:
            while not context.join():
                pass
        except (ProcessRaisedException, ProcessExitedException) as error:
            raise _first_error(context, errors, error) from None


def _first_error(context: ProcessContext, errors: "SimpleQueue[Exception]", error: Exception) -> Exception:
    """Return the first error, as its rank reported it."""
    for rank, process in enumerate(context.processes):
        if process.exitcode < 0 and process.exitcode != -signal.SIGTERM:  # by which torch ends those that are left
            name = signal.Signals(-process.exitcode).name
            return UserError(f"process {rank} of {len(context.processes)} was killed ({name}); repeat to continue")
    if isinstance(error, ProcessRaisedException):
        logging.getLogger(__name__).error("%s", error)  # with the traceback
    return RankError(" ".join(str(error).split())) if errors.empty() else errors.get()


def _rank(
    rank: int,
    body: Callable[[Console], None],
    directory: Path,
    environment: dict[str, str],
    screen: str | None,
    width: int,
    log: str | None,
    errors: "SimpleQueue[Exception]",
) -> None:
    """Set up one process and call its body.

    The first one prints to the file `screen`, lines of `width` characters; None is the terminal. `log` is the file of
    log messages.
    """
    follow_parent()
    os.environ |= {**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo0" if sys.platform == "darwin" else "lo")
    if log is not None:
        form = f"[%(asctime)s][process {rank}][%(name)s][%(levelname)s] - %(message)s"
        logging.basicConfig(filename=log, level=logging.INFO, format=form)
    try:
        with ExitStack() as stack, lasting_output():
            console = Console(file=io.StringIO())
            if rank == 0:
                # A first process of an earlier attempt, whose parent was killed, ends before this one writes.
                stack.enter_context(exclusive(directory / FIRST_LOCK, str(directory), wait=lambda _: None))
                file = screen and stack.enter_context(Path(screen).open("a", encoding="utf-8"))
                console = Terminal(file=file, width=width) if file else Terminal()
            body(console)
        if dist.is_initialized():
            dist.destroy_process_group()  # or gloo's threads may abort the process while Python ends
    except Exception as error:
        message = f"process {rank}: {type(error).__name__}: {' '.join(str(error).split())}"
        errors.put(error if isinstance(error, UserError) else RankError(message))
        raise
