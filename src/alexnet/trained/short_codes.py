"""Short binary codes of images, by an autoencoder over features (Section 6.1).

After Krizhevsky and Hinton, "Using very deep autoencoders for content-based image retrieval" (2011): the code units are
rounded to 0 or 1 in the forward pass, and the backward pass ignores the rounding.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from alexnet.errors import UserError
from alexnet.files import replace_file
from alexnet.trained.weights import check_tensors
from alexnet.untrusted import damage_named

VERSION = 2
BATCH_SIZE = 128
ROWS = 4096
"""Features that are read at a time."""
PackedCodes = NDArray[np.uint8]
"""Codes of B bits, [N, B / 8]."""


class Autoencoder(nn.Module):
    """Features [N, D] to bits and back: D -> D/2 -> B -> D/2 -> D, with ReLU between the layers."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, bits: int) -> None:
        super().__init__()
        hidden = max(bits, features // 2)
        self.encoder = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, bits))
        self.decoder = nn.Sequential(nn.Linear(bits, hidden), nn.ReLU(), nn.Linear(hidden, features))
        # One scale for all features, so that the reconstruction error stays a Euclidean distance.
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Return the mean squared error of the reconstruction from bits, in units of the features' variance."""
        target = (features - self.mean) / self.scale
        soft = torch.sigmoid(self.encoder(target))
        bits = soft + ((soft > 0.5).float() - soft).detach()
        return F.mse_loss(self.decoder(bits), target)

    def encode(self, features: NDArray[np.float32]) -> PackedCodes:
        """Return the codes of features [N, D]."""
        packed = []
        for rows in np.split(features, range(ROWS, len(features), ROWS)):
            standard = (torch.from_numpy(rows).to(self.mean.device) - self.mean) / self.scale
            packed.append(np.packbits((self.encoder(standard) > 0).cpu().numpy(), axis=1))
        return np.concatenate(packed)


def train_codes(
    features: NDArray[np.float32], *, bits: int, epochs: int, seed: int, device: torch.device
) -> Autoencoder:
    """Fit an autoencoder to features [N, D] with Adam; deterministic in the seed on one machine.

    Raises:
        UserError: all features are equal.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    blocks = np.split(features, range(ROWS, len(features), ROWS))
    scale = float(np.sqrt(sum(float(np.square(rows - mean).sum()) for rows in blocks) / features.size))
    if not (np.isfinite(scale) and scale > 0):
        raise UserError("the features of all images are equal, or not finite: was this net trained?")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Autoencoder(features.shape[1], bits).to(device)
    net.mean.copy_(torch.from_numpy(mean))
    net.scale.fill_(scale)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 if epoch < 0.8 * epochs else 1e-4
        for rows in torch.split(torch.randperm(len(features), generator=generator), BATCH_SIZE):
            optimizer.zero_grad()
            net(torch.from_numpy(features[rows.numpy()]).to(device)).backward()
            optimizer.step()
    return net.eval().requires_grad_(False)


def nearest_codes(
    queries: PackedCodes, database: PackedCodes, *, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return indices and Hamming distances, both [Q, k], of the codes nearest to each query; ties by lower index."""
    indices, distances = np.empty((len(queries), k), np.int64), np.empty((len(queries), k))
    for number, query in enumerate(queries):
        differing = np.bitwise_count(database ^ query).sum(axis=1, dtype=np.uint16)  # sorted by radix
        indices[number] = differing.argsort(kind="stable")[:k]
        distances[number] = differing[indices[number]]
    return indices, distances


@dataclass(frozen=True, kw_only=True)
class Codes:
    """The codes of a pack's training images, and the autoencoder that makes codes from features."""

    net: Autoencoder
    layer: str
    """The layer whose activations are the features."""
    database: PackedCodes
    """In the order of the pack's training images."""
    weights: str
    """Digest of the weights of the net that made the features."""
    fingerprint: str
    """Fingerprint of the pack."""

    @property
    def bits(self) -> int:
        return 8 * int(self.database.shape[1])

    def save(self, path: Path) -> None:
        """Write the file, complete or not at all, from plain values and tensors."""
        buffer = io.BytesIO()
        facts = {name: getattr(self, name) for name in ("bits", "layer", "weights", "fingerprint")}
        tensors = {"database": torch.from_numpy(self.database), "net": self.net.state_dict()}
        torch.save({"version": VERSION, **facts, **tensors}, buffer)
        replace_file(path, buffer.getvalue())


def load_codes(path: Path, device: torch.device) -> Codes:
    """Read what `Codes.save` wrote; UserError if it is missing, damaged or of another version."""
    if not path.is_file():
        raise UserError(f"{path}: no such codes; make them with alexnet codes RUN PACK --bits ...")
    with damage_named(path, "damaged, or not codes of this program; run alexnet codes again"):
        saved = torch.load(path, map_location="cpu", weights_only=True)
        if saved["version"] != VERSION:
            raise UserError(f"{path} has version {saved['version']}, supported: {VERSION}; run alexnet codes again")
        check_tensors([saved["database"], *saved["net"].values()], path, weights=False)
        if saved["database"].dtype != torch.uint8 or 8 * saved["database"].shape[1] != saved["bits"]:
            raise ValueError("database")
        with torch.device("meta"):  # no memory for sizes that the file only claims
            net = Autoencoder(len(saved["net"]["mean"]), saved["bits"])
        net.load_state_dict(saved["net"], assign=True)
        net = net.to(device).eval().requires_grad_(False)
        facts = {name: saved[name] for name in ("layer", "weights", "fingerprint")}
        return Codes(net=net, database=saved["database"].numpy(), **facts)
