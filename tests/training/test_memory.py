"""Too little memory is one line, and what it proposes is the same training."""

import pytest
import torch

from alexnet.devices import is_out_of_memory
from alexnet.errors import UserError
from alexnet.net.plan import layer_specs
from alexnet.training.hardware import images_that_fit
from alexnet.training.module import AlexNetModule
from tests.conftest import Compose
from tests.training.conftest import MakeJob, execute

GIB = 2**30


@pytest.mark.parametrize(
    ("hook", "remedy"),
    [
        ("training_step", r"with 16 images at a time; about 8 would fit: add hardware\.accumulate_grad_batches=2"),
        ("validation_step", r"in evaluation: add hardware\.eval_batch_size=16"),
        ("test_step", r"in evaluation: add hardware\.eval_batch_size=16"),
    ],
)
def test_run_without_enough_memory_ends_in_one_line(
    tiny: MakeJob, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, hook: str, remedy: str
) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(AlexNetModule, hook, full)
    with pytest.raises(UserError, match=f"^out of memory on cpu {remedy}"):
        execute(tiny("schedule.epochs=1", "schedule.milestones=[]"), tmp_path_factory.mktemp("full") / "run")


def test_allocation_that_a_machine_refuses_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**55)
    assert is_out_of_memory(refused.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_images_that_fit_are_those_of_the_paper_s_network(compose: Compose) -> None:
    """3 GB at 128 images (reckoned in float32 from the layers' outputs), and 61 million weights in a tenth of that."""
    layers = layer_specs(compose("scale=paper"), 1000)
    assert 128 <= images_that_fit(layers, 4 * GIB) <= 512
    assert images_that_fit(layers, GIB // 2) == 0
