"""Tensors in, tensors out: the paper's network and its layers. Knows no Lightning, no Hydra and no files."""
