"""What all tests share: composed configurations, without a command line or a run directory."""

import atexit
import gc
import os
import resource
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, cast

# Before torch is loaded, and for the processes that tests start: the tests are small, and threads that wait for each
# other double the time. By the environment, as xdist's own process, which only hands out tests, needs no torch.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
# No test depends on the terminal that it runs in: rich asks these variables, which CI services set as well.
os.environ.pop("FORCE_COLOR", None)
os.environ.pop("TTY_COMPATIBLE", None)
os.environ.pop("TTY_INTERACTIVE", None)
os.environ.pop("NO_COLOR", None)
os.environ |= {"COLUMNS": "80", "TERM": "xterm"}
# Tests expect a CPU's numbers: with a GPU they neither see it nor compile for it, unless GPU_TESTS=1 asks for those of
# the GPU. Triton's kernels run in its interpreter.
if os.environ.get("GPU_TESTS") != "1":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TRITON_INTERPRET": "1"}

import pytest
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from alexnet.config.compose import CONF, ablation_content, compose_config
from alexnet.config.job import Job, WeightsDigest, check, check_composed
from alexnet.config.schema import Config
from alexnet.errors import UserError

Compose = Callable[..., Config]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what is imported out of the garbage collector's rounds, which took a tenth of the time."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # libraries report as leaked what is still frozen at the end
    return collected


@contextmanager
def few_open_files(room: int = 0) -> Iterator[None]:
    """Let this process open no more than so many further files at a time: a refusal of the machine, also for root."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@cache
def _composed_by_hydra(choices: tuple[str, ...], ablations: tuple[str, ...] = ()) -> DictConfig:
    """Compose choices of `conf/`, without Hydra's own part, and merge ablations into them, as Hydra does."""
    if not ablations:
        composed = compose_config(list(choices))
        return OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    with open_dict(_composed_by_hydra(choices)) as config:  # an ablation adds its claim, as with a + in front
        merged = OmegaConf.merge(config, *(ablation_content(name, ()) for name in ablations))
    OmegaConf.set_struct(merged, True)
    return cast(DictConfig, merged)


def checked(*overrides: str, weights_digest: WeightsDigest = str) -> Job:
    """Return the job of a command line as `check` does; Hydra composes each set of choices once, without the rest.

    tests/config/test_ablations.py compares the two.
    """
    keys = {one: one.partition("=")[0] for one in overrides}
    ablations = [one for one, key in keys.items() if key in ("+ablation", "ablation")]
    choices = [one for one, key in keys.items() if one not in ablations and (key[0] in "+~" or (CONF / key).is_dir())]
    try:
        names = [name for one in ablations for name in one.partition("=")[2].strip("[]").split(",")]
        values = OmegaConf.from_dotlist([one for one in overrides if one not in (*choices, *ablations)])
        config = OmegaConf.merge(_composed_by_hydra(tuple(choices), tuple(names)), values)
    except (UserError, HydraException, OmegaConfBaseException):
        return check(list(overrides), weights_digest=weights_digest)  # refuses it in its own words
    made = {"overrides": SimpleNamespace(hydra=[], task=list(overrides)), "runtime": SimpleNamespace(config_sources=[])}
    hydra = SimpleNamespace(**made)
    return check_composed(config, hydra, weights_digest=weights_digest)  # type: ignore[arg-type]


@cache
def _composed(*overrides: str) -> Config:
    return checked(*overrides).config


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
