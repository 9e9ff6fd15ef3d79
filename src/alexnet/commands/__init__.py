"""The command lines: `main` declares the arguments and the function of each `alexnet` command; `train` is Hydra's."""

import os

# Before torch is loaded. Threads that spin while they wait for each other take cores that other programs could use, and
# collapse to a tenth of their speed on a busy machine. What Apple's GPU cannot compute runs on the CPU.
for name, value in {"OMP_WAIT_POLICY": "PASSIVE", "PYTORCH_ENABLE_MPS_FALLBACK": "1"}.items():
    os.environ.setdefault(name, value)
