"""Ten crops of every image beside ten forward passes of the network alone.

python benchmarks/ten_crop.py [--rounds 7]

25 images a batch, as `hardware.eval_batch_size=256` makes them. One thread.
"""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from alexnet.config.job import check
from alexnet.data.augment import Augmenter, CropGeometry
from alexnet.data.pack.statistics import PixelStats
from alexnet.evaluation import probabilities
from alexnet.net.alexnet import AlexNet
from measuring import Parts, as_plain, interleaved, one_core, print_table, report, timed

IMAGES = 25
SCALES = {"demo": ["experiment=demo"], "paper": ["experiment=ilsvrc2012", "data.root=none"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    one_core()
    report(measured(rounds), show, "ten_crop", rounds, images=IMAGES)


def measured(rounds: int) -> Iterator[list[dict[str, Any]]]:
    for scale, overrides in SCALES.items():
        medians = interleaved(_candidates(overrides), rounds)
        yield [{"scale": scale, "what": what, **as_plain(parts)} for what, parts in medians.items()]


def show(rows: list[dict[str, Any]]) -> None:
    forwards, crops = (row["all"]["cpu"] for row in rows)
    cells = [rows[0]["scale"], f"{1e3 * forwards:.0f}", f"{1e3 * crops:.0f}", f"{crops / forwards:.2f}"]
    print_table(["scale", "ten forward passes, ms", "ten crops, ms", "ratio"], [cells])


def _candidates(overrides: list[str]) -> dict[str, Callable[[], Parts]]:
    config = check(overrides).config
    size, crop = config.scale.image_size, config.scale.crop_size
    statistics = PixelStats(
        mean_image=np.full((size, size, 3), 120, np.float32),
        covariance=np.eye(3),
        eigenvalues=np.ones(3),
        eigenvectors=np.eye(3),
    )
    geometry = CropGeometry(image_size=size, crop_size=crop)
    augmenter = Augmenter(statistics, geometry, crops=config.crops, color=config.color)
    net = AlexNet(config, num_classes=1000, seed=0).eval()
    images = torch.randint(0, 256, (IMAGES, size, size, 3), dtype=torch.uint8)
    pixels = (255 * torch.rand(IMAGES, 3, crop, crop)).contiguous(memory_format=torch.channels_last)

    def forwards() -> None:
        for _ in range(10):
            net(pixels)

    ways = {"ten forward passes": forwards, "ten crops": lambda: probabilities(net, augmenter, images)}
    return {name: timed(torch.inference_mode()(way)) for name, way in ways.items()}


if __name__ == "__main__":
    main()
