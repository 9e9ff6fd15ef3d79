"""Response normalisation of pixels on a CPU by compiled loops: two passes over memory forwards, three backwards.

Numba brings its own compiler, so nothing has to be installed for it; what it compiles is kept for the next process.
"""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Loops: TypeAlias = Callable[..., None]

COMPUTED_IN: dict[torch.dtype, type[np.floating[Any]]] = {
    torch.float32: np.float32,
    torch.bfloat16: np.float32,
    torch.float64: np.float64,
}
"""Types that the loops read and write, and those that they compute in."""
SMALLEST_PART = 2**16
"""Numbers that are worth waking a thread for."""


@dataclass(frozen=True)
class NumbaLRN:
    """y = x / (k + alpha * window(x^2))^beta of [pixels, columns, maps], and its gradient.

    For contiguous tensors on a CPU of a type in `COMPUTED_IN`. Pixels are shared out among as many threads as torch
    uses; the result does not depend on their number.
    """

    size: int
    k: float
    alpha: float
    beta: float

    def normalise(self, x: Tensor) -> Tensor:
        """[pixels, columns, maps] to the same."""
        y = torch.empty_like(x)
        self._run("forward", x, y)
        return y

    def gradient(self, x: Tensor, grad: Tensor) -> Tensor:
        """dL/dx from x and dL/dy."""
        x_grad = torch.empty_like(x)
        self._run("backward", x, grad.contiguous(), x_grad)
        return x_grad

    def _run(self, direction: str, *tensors: Tensor) -> None:
        dtype = tensors[0].dtype
        loops = compiled_loops()[direction, dtype == torch.bfloat16]
        number = COMPUTED_IN[dtype]
        beta = None if self.beta == 0.75 else number(self.beta)
        constants = ((0,) * self.size, number(self.k), number(self.alpha), beta)
        matrices = [_array(tensor.flatten(0, 1)) for tensor in tensors]
        parts = max(1, min(torch.get_num_threads(), matrices[0].size // SMALLEST_PART))
        ends = [len(matrices[0]) * part // parts for part in range(parts + 1)]
        first, *others = ([matrix[start:end] for matrix in matrices] for start, end in pairwise(ends))
        waiting = [_threads(parts - 1, os.getpid()).submit(loops, *part, *constants) for part in others]
        loops(*first, *constants)
        for other in waiting:
            other.result()


@lru_cache(maxsize=1)
def _threads(count: int, _process: int) -> ThreadPoolExecutor:
    """The loops release the interpreter's lock. A forked process needs threads of its own."""
    return ThreadPoolExecutor(count, thread_name_prefix="lrn")


def _array(tensor: Tensor) -> NDArray[Any]:
    """The memory of a tensor; numpy has no bfloat16, which goes by its bits."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(np.uint16)
    return tensor.numpy()


@lru_cache
def works() -> bool:
    """Whether numba can compile here; else a warning says why not, once."""
    try:
        _check_compiler()
    except Exception as error:  # numba, LLVM, numpy and the file system all have their own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"response normalisation is slower here, without compiled loops: {reason}", stacklevel=2)
        return False
    return True


def _check_compiler() -> None:
    import numba

    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise RuntimeError("NUMBA_DISABLE_JIT is set")
    one = np.ones((1, 1), np.float32)
    compiled_loops()["forward", False](one, one.copy(), (0,) * 5, np.float32(1), np.float32(1), None)


@lru_cache
def compiled_loops() -> dict[tuple[str, bool], Loops]:
    """The loops by direction and whether they are those of bfloat16."""
    from alexnet.net import lrn_loops  # numba takes most of a second

    return {
        ("forward", False): lrn_loops.forward,
        ("forward", True): lrn_loops.forward_bfloat16,
        ("backward", False): lrn_loops.backward,
        ("backward", True): lrn_loops.backward_bfloat16,
    }
