"""The strategy for a network divided between two devices, and copies of it (section 3.2).

Two consecutive processes hold one network. Checkpoints are those of one device, model and velocities alike, so that
either can continue the other's.
"""

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from alexnet.net.halves import DEVICES
from alexnet.net.two_devices import ColumnShard

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
