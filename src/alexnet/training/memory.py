"""Too little memory, told in one line with what would fit."""

from collections.abc import Iterator
from contextlib import contextmanager

import lightning as L

from alexnet.devices import is_out_of_memory, memory_bytes
from alexnet.errors import UserError
from alexnet.net.specs import Layer, Parametric, PoolSpec, total_parameters
from alexnet.parts import Replica
from alexnet.training.module import AlexNetModule

BYTES_OF_PARAMETER = 16
"""Float32 of a weight, its gradient and its velocity, and a copy in use."""
BYTES_OF_OUTPUT = 20
"""Float32 of a layer's output, of what its activation or norm makes of it, and of their gradients, and a copy."""


@contextmanager
def one_line_if_out_of_memory(trainer: L.Trainer, module: AlexNetModule) -> Iterator[None]:
    """Replace an error for lack of memory by a `UserError` that names the remedy."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        device, config = trainer.strategy.root_device, module.config
        hardware = config.hardware
        if not module.training:
            remedy = f"add hardware.eval_batch_size={max(1, hardware.eval_batch_size // 4)}"
            raise UserError(f"out of memory on {device} in evaluation: {remedy}") from error
        replicas = trainer.world_size // config.devices.per_replica
        held = Replica(count=replicas).part(config.optimizer.batch_size, turns=hardware.accumulate_grad_batches).count
        fitting = min(held // 2, images_that_fit(module.net.specs, memory_bytes(device)))
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
