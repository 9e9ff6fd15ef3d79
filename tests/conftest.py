"""What all tests share: composed configurations, without a command line or a run directory."""

from collections.abc import Callable

import pytest
import torch

from alexnet.config.compose import register
from alexnet.config.job import check
from alexnet.config.schema import Config

Compose = Callable[..., Config]

torch.set_num_threads(1)  # the tests are small, and threads that wait for each other slow down a busy machine


@pytest.fixture(scope="session")
def compose() -> Compose:
    """Compose a configuration from overrides, as the command line would."""
    register()
    return lambda *overrides: check(list(overrides)).config
