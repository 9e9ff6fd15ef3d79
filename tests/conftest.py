"""What all tests share: composed configurations, without a command line or a run directory."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

# Before torch is loaded, and for the processes that tests start: the tests are small, and threads that wait for each
# other double the time. By the environment, as xdist's own process, which only hands out tests, needs no torch.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
# Tests expect a CPU's numbers: with a GPU they neither see it nor compile for it, unless GPU_TESTS=1 asks for those of
# the GPU. Triton's kernels run in its interpreter.
if os.environ.get("GPU_TESTS") != "1":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"}

import pytest

from alexnet.config.job import check
from alexnet.config.schema import Config

Compose = Callable[..., Config]


@cache
def _composed(*overrides: str) -> Config:
    return check(list(overrides)).config


@pytest.fixture(scope="session")
def compose() -> Compose:
    """Compose a configuration from overrides, as the command line would; a quarter of a second for new ones."""
    return _composed


def config(**values: Any) -> Config:
    """Return the demo's configuration with other values, `lrn__layers=[]`; checked, without composing again."""
    changed = _composed()
    for key, value in values.items():
        group, _, name = key.partition("__")
        changed = replace(changed, **{group: replace(getattr(changed, group), **{name: value}) if name else value})
    return changed
