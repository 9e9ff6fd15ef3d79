"""The command lines: `main` declares the arguments and the function of each `alexnet` command; `train` is Hydra's."""
