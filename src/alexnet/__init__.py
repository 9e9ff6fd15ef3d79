"""The ablation laboratory for AlexNet: the 2012 paper's network, data path and study, re-run with error bars."""

__version__ = "0.1.0"
