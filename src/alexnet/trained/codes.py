"""Short binary codes for images, by an auto-encoder over features of the net (section 6.1).

After Krizhevsky and Hinton, "Using very deep autoencoders for content-based image retrieval" (2011): logistic code
units that are rounded to 0 or 1 on the way forward, while the way back ignores the rounding.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.files import replace_file

VERSION = 1
WORD = 64
"""Bits of the words that codes are packed into and compared by."""
Words = NDArray[np.uint64]
"""Packed codes [n, words]; bits beyond the code's length are 0."""


class AutoEncoder(nn.Module):
    """Features [n, d] to bits and back: d -> d/2 -> bits -> d/2 -> d, rectified between the layers."""

    mean: Tensor
    scale: Tensor

    def __init__(self, d: int, bits: int) -> None:
        super().__init__()
        hidden = max(bits, d // 2)
        self.encoder = nn.Sequential(nn.Linear(d, hidden), nn.ReLU(), nn.Linear(hidden, bits))
        self.decoder = nn.Sequential(nn.Linear(bits, hidden), nn.ReLU(), nn.Linear(hidden, d))
        # One scale for all features, so that the error of the reconstruction stays a Euclidean distance.
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Mean squared error of the reconstruction from bits, in units of the features' variance."""
        wanted = (features - self.mean) / self.scale
        soft = torch.sigmoid(self.encoder(wanted))
        bits = soft + ((soft > 0.5).float() - soft).detach()
        return F.mse_loss(self.decoder(bits), wanted)

    def bits(self, features: Tensor) -> Tensor:
        """bool [n, bits]"""
        logits: Tensor = self.encoder((features - self.mean) / self.scale)
        return logits > 0


def train_codes(
    features: NDArray[np.float32], *, bits: int, epochs: int, seed: int, device: torch.device, batch_size: int = 128
) -> AutoEncoder:
    """Fit an auto-encoder to features [n, d] by Adam; the same for the same seed on one machine.

    Raises:
        UserError: `bits` or `epochs` has no meaning, or all features are equal.
    """
    if not 8 <= bits <= 4096 or bits % 8:
        raise UserError(f"{bits} bits: give a multiple of 8, from 8 to 4096")
    if epochs < 1:
        raise UserError(f"{epochs} epochs: at least 1 is needed")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = AutoEncoder(features.shape[1], bits).to(device)
    _standardise(net, features)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 if epoch < 0.8 * epochs else 1e-4
        for rows in torch.split(torch.randperm(len(features), generator=generator), batch_size):
            optimizer.zero_grad()
            net(torch.from_numpy(features[rows.numpy()]).to(device)).backward()
            optimizer.step()
    return net.eval().requires_grad_(False)


def _standardise(net: AutoEncoder, features: NDArray[np.float32]) -> None:
    mean = features.mean(axis=0, dtype=np.float64)
    scale = float(np.sqrt(features.var(axis=0, dtype=np.float64).mean()))
    if not (np.isfinite(scale) and scale > 0):
        raise UserError("the features of all images are the same, or not finite: was this net trained?")
    net.mean.copy_(torch.from_numpy(mean))
    net.scale.fill_(scale)


def encode(net: AutoEncoder, features: NDArray[np.float32], *, batch_size: int = 4096) -> Words:
    """The packed codes of features [n, d]."""
    parts = [
        net.bits(torch.from_numpy(features[start : start + batch_size]).to(net.mean.device)).cpu().numpy()
        for start in range(0, len(features), batch_size)
    ]
    return pack_bits(np.concatenate(parts))


def pack_bits(bits: NDArray[np.bool_]) -> Words:
    """Bits [n, b] to words [n, b / 64, rounded up]."""
    missing = -bits.shape[1] % WORD
    return np.packbits(np.pad(bits, ((0, 0), (0, missing))), axis=1).view(np.uint64)


def nearest_codes(query: Words, database: Words, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices and Hamming distances, both [k], of the codes [n, words] nearest to one code [words].

    Of codes at equal distance the one with the lower number comes first.
    """
    distances = _ones(database ^ query)
    # Distance and number as one integer: partial sorting then settles ties too.
    keys = distances * len(database) + np.arange(len(database))
    nearest = np.sort(np.partition(keys, k - 1)[:k])
    distances, indices = np.divmod(nearest, len(database))
    return indices, distances


def _ones(words: Words) -> NDArray[np.int64]:
    """Bits that are set, by row."""
    if hasattr(np, "bitwise_count"):  # numpy 2
        return np.asarray(np.bitwise_count(words).sum(axis=1, dtype=np.int64))
    return np.asarray(np.unpackbits(words.view(np.uint8), axis=1).sum(axis=1, dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class Codes:
    """Codes of the training images of one pack, by one net, and what makes them from features."""

    net: AutoEncoder
    bits: int
    layer: str
    """Whose activities the features are."""
    database: Words
    """[n, words], in the order of the pack's training images"""
    weights: str
    """Hash of the weights of the net that the features come from."""
    fingerprint: str
    """Of the pack."""


def codes_file(directory: Path, layer: str, bits: int) -> Path:
    return directory / f"codes-{layer}-{bits}.pt"


def save_codes(codes: Codes, path: Path) -> None:
    """Write the file, complete or not at all; plain values and tensors only."""
    buffer = io.BytesIO()
    values = {name: getattr(codes, name) for name in ("bits", "layer", "weights", "fingerprint")}
    database = torch.from_numpy(codes.database.view(np.uint8))
    torch.save({"version": VERSION, **values, "database": database, "net": codes.net.state_dict()}, buffer)
    replace_file(path, buffer.getvalue())


def load_codes(path: Path, device: torch.device) -> Codes:
    """Read what `save_codes` has written.

    Raises:
        UserError: the file is missing, damaged or of another version.
    """
    if not path.is_file():
        raise UserError(f"{path}: there are no such codes; make them: alexnet codes RUN PACK --bits ...")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["version"] != VERSION:
            raise UserError(f"{path} is of version {saved['version']}; this program reads {VERSION}: make it again")
        net = AutoEncoder(len(saved["net"]["mean"]), saved["bits"])
        net.load_state_dict(saved["net"])
        return Codes(
            net=net.to(device).eval().requires_grad_(False),
            bits=saved["bits"],
            layer=saved["layer"],
            database=saved["database"].numpy().view(np.uint64),
            weights=saved["weights"],
            fingerprint=saved["fingerprint"],
        )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, EOFError, UnpicklingError) as error:
        raise UserError(f"{path} is damaged, or holds no codes of this program: make it again") from error
