"""Images per core and second, from files or a pack to batches: what people use, what we use, and other loaders.

python benchmarks/loading.py --images FOLDER [--rounds 7] [--peers] [--threads | --decoders]

FOLDER holds original photographs in class folders. The reference reads them as most scripts do; everything else reads
the same photographs packed once at 256 x 256. Time is that of the process on one core; pages are warm. `--threads`
measures our loader on one and on two threads by the clock instead, which needs two idle cores. `--decoders` measures
batches brought to a GPU, decoded by the host's threads and by the GPU (`data.decoder`). `--peers` needs
nvidia-dali-cuda120, webdataset, litdata and datasets; `--ffcv` needs ffcv, which is built on the spot (Debian: g++,
pkg-config, libopencv-dev and libturbojpeg0-dev; `pip install --no-build-isolation ffcv`).
"""

import argparse
import io
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torchvision.transforms as T
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_jpeg

from alexnet.config.values import ColorConfig, CropsConfig
from alexnet.data.augment import CropGeometry, NumbaAugmenter, draw_epoch
from alexnet.data.loading import AugmentedBatches, Loader, NvjpegDecoder, Reader, batch_parts
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.prepare import prepare
from alexnet.data.pack.splits import Split
from alexnet.data.sources.images import JpegQuality, decode_into, encode
from alexnet.data.threads import available_cpus
from alexnet.training.provenance import device_name
from measuring import Parts, copied, interleaved, one_core, photographs, print_table, save, timed

SIZE, CROP, BATCH = 256, 224, 128
PACKED = 1280
"""Images in the packs: the photographs again and again."""
TIMES = 10
"""How often a GPU goes through them in one execution, which would be over too soon."""
Way = tuple[str, int, Callable[[], Any]]
"""Its name, the images of one execution, and the execution."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--ffcv", action="store_true")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--decoders", action="store_true")
    options = parser.parse_args()
    if options.decoders and not torch.cuda.is_available():
        parser.error("--decoders measures decoding on a GPU, and torch finds none here")
    with tempfile.TemporaryDirectory() as folder:
        packs = _packs(options.images, Path(folder))
        if options.threads:
            _by_threads(packs, options.rounds)
            return
        if options.decoders:
            _by_decoder(packs["jpeg"], options.rounds, torch.device("cuda", 0))
            return
        one_core()
        ways = [_reference(options.images), *_ours(packs), *_decoding(_files(packs["jpeg"]))]
        if options.peers:
            ways += _peers(Path(folder), packs["jpeg"])
        if options.ffcv:
            ways += _ffcv(Path(folder), packs)
        _report(ways, options.rounds)
    if options.ffcv:  # its threads never end, and Python would wait for them
        sys.stdout.flush()
        os._exit(0)


def _packs(images: Path, folder: Path) -> dict[str, Pack]:
    """The photographs, copied until there are enough, as a raw and as a JPEG pack."""
    source = copied(photographs(images), folder, PACKED)
    made = {}
    for encoding in ("raw", "jpeg"):
        target = folder / encoding
        made[encoding] = prepare(source, target, size=SIZE, encoding=encoding, val_fraction=0.01)
    shutil.rmtree(source)
    return made


def _reference(images: Path) -> Way:
    """ImageFolder, PIL and torchvision's transforms, with the paper's colour noise."""
    directions = torch.randn(3, 3)

    def noise(image: torch.Tensor) -> torch.Tensor:
        return image + (torch.randn(3) * 0.1 @ directions)[:, None, None]

    steps = [T.Resize(SIZE), T.RandomCrop(CROP), T.RandomHorizontalFlip(), T.ToTensor()]
    normalise = T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    data = ImageFolder(str(images), T.Compose([*steps, normalise, noise]))
    chosen = range(min(100, len(data)))
    return "ImageFolder, PIL (reference), float32", len(chosen), lambda: torch.stack([data[i][0] for i in chosen])


def _ours(packs: dict[str, Pack]) -> Iterator[Way]:
    for encoding, pack in packs.items():
        for kind in ("float32", "uint8"):
            loader = _loader(pack, kind, threads=None)
            images = len(pack.splits["train"])
            yield f"ours, {encoding} pack, {kind}", images, partial(_run_through, loader)


def _decoding(files: list[bytes]) -> Iterator[Way]:
    """Decoding alone, image by image and by torchvision's call for a list.

    Files of 8 x 8 pixels tell how long the interpreter's lock may be held for an image.
    """
    tiny = encode(np.zeros((8, 8, 3), np.uint8), JpegQuality())

    def ours(files: list[bytes], size: int) -> None:
        pixels = np.empty((size, size, 3), np.uint8)
        for data in files:
            decode_into(data, pixels)

    def listed() -> None:
        decode_jpeg([torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files], ImageReadMode.RGB)

    yield "decoding alone, as ours do", len(files), partial(ours, files, SIZE)
    yield "decoding alone, 8 x 8 pixels", len(files), partial(ours, [tiny] * len(files), 8)
    yield "decoding alone, torchvision.io", len(files), listed


def _loader(pack: Pack, kind: str, threads: int | None) -> Any:
    """Batches as training gets them; `threads` None makes them in the calling thread."""
    split = pack.splits["train"]
    plan = draw_epoch(seed=0, epoch=0, images=len(split), positions=SIZE - CROP)
    crops = CropsConfig(random=True, flip=True, include_last_offset=False)
    color = ColorConfig(std=0.1, magnitude="std")
    geometry = CropGeometry(image_size=SIZE, crop_size=CROP)
    augment = NumbaAugmenter(pack.statistics, geometry, crops=crops, color=color, color_on=True)
    ready = AugmentedBatches(split, plan, augment, parts=batch_parts(len(split), BATCH), threads=threads or 1)
    make: Any = ready if kind == "float32" else Reader(split, torch.device("cpu")).training(plan)
    if threads is not None:
        return Loader(make, parts=batch_parts(len(split), BATCH), threads=threads)
    parts = [slice(first, min(first + BATCH, len(split))) for first in range(0, len(split), BATCH)]
    return _Repeated(make, parts)


class _Repeated:
    def __init__(self, make: Callable[[slice], Any], parts: list[slice]) -> None:
        self.make, self.parts = make, parts

    def __iter__(self) -> Iterator[Any]:
        return map(self.make, self.parts)


def _run_through(batches: Any) -> None:
    for _ in batches:
        pass


def _peers(folder: Path, pack: Pack) -> Iterator[Way]:
    """Other loaders on the very JPEG files of the pack, to cropped and mirrored uint8 batches."""
    files = _files(pack)
    yield "DALI, uint8", len(files), _dali(folder, files, "uint8")
    yield "DALI, float32", len(files), _dali(folder, files, "float32")
    yield "webdataset, torchvision.io, uint8", len(files), _webdataset(folder, files)
    yield "HF datasets, torchvision.io, uint8", len(files), _hugging_face(files)
    yield "litdata, torchvision.io, uint8", len(files), _litdata(folder, files)


def _files(pack: Pack) -> list[bytes]:
    spans = np.load(pack.path / "train-spans.npy").tolist()
    data = (pack.path / "train-00000.jpeg").read_bytes()
    return [data[start : start + length] for start, length in spans]


def _dali(folder: Path, files: list[bytes], kind: str) -> Callable[[], None]:
    from nvidia.dali import fn, pipeline_def, types

    root = folder / "dali" / "0"
    root.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(files):
        (root / f"{number:05d}.jpg").write_bytes(data)

    def pipeline() -> Any:
        jpegs, labels = fn.readers.file(file_root=str(root.parent), random_shuffle=True, initial_fill=len(files))
        images = fn.decoders.image(jpegs, device="cpu", output_type=types.RGB)
        place = {"crop_pos_x": fn.random.uniform(range=[0, 1]), "crop_pos_y": fn.random.uniform(range=[0, 1])}
        mirror = fn.random.coin_flip()
        options = {"dtype": types.UINT8, "output_layout": "HWC"}
        if kind == "float32":
            options = {"dtype": types.FLOAT, "output_layout": "CHW", "mean": [120.0] * 3, "std": [1.0] * 3}
        return fn.crop_mirror_normalize(images, crop=(CROP, CROP), mirror=mirror, **place, **options), labels

    built = pipeline_def(pipeline, batch_size=BATCH, num_threads=1, device_id=None, prefetch_queue_depth=1)()
    built.build()

    def execute() -> None:
        for _ in range(len(files) // BATCH):
            built.run()

    return execute


def _cropped(data: bytes | torch.Tensor) -> torch.Tensor:
    raw = torch.frombuffer(bytearray(data), dtype=torch.uint8) if isinstance(data, bytes) else data
    image = decode_jpeg(raw, ImageReadMode.RGB) if raw.ndim == 1 else raw
    top, left = np.random.randint(0, SIZE - CROP, 2)
    image = image[:, top : top + CROP, left : left + CROP]
    return image.flip(2) if np.random.random() < 0.5 else image


def _webdataset(folder: Path, files: list[bytes]) -> Callable[[], None]:
    import webdataset

    with tarfile.open(folder / "files.tar", "w") as tar:
        for number, data in enumerate(files):
            member = tarfile.TarInfo(f"{number:05d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    data = webdataset.WebDataset(str(folder / "files.tar"), shardshuffle=False).shuffle(1000).to_tuple("jpg")
    batches = data.map_tuple(_cropped).batched(BATCH)
    return lambda: _run_through(batches)


def _hugging_face(files: list[bytes]) -> Callable[[], None]:
    import datasets

    data = datasets.Dataset.from_dict({"image": files})

    def execute() -> None:
        order = np.random.permutation(len(files))
        for first in range(0, len(files), BATCH):
            torch.stack([_cropped(image) for image in data[order[first : first + BATCH]]["image"]])

    return execute


def _litdata(folder: Path, files: list[bytes]) -> Callable[[], None]:
    import litdata

    target = folder / "litdata"
    writer = litdata.streaming.writer.BinaryWriter(str(target), chunk_bytes="64MB", serializers=None)
    target.mkdir(exist_ok=True)
    for number, data in enumerate(files):
        writer[number] = {"image": data}
    writer.done()
    writer.merge()
    data = litdata.StreamingDataset(str(target), shuffle=True)

    def execute() -> None:
        batch = []
        for item in data:
            batch.append(_cropped(item["image"]))
            if len(batch) == BATCH:
                torch.stack(batch)
                batch = []

    return execute


def _ffcv(folder: Path, packs: dict[str, Pack]) -> Iterator[Way]:
    """FFCV on the same images, in files of its own. It mirrors slowly, so that is also left out."""
    for encoding, mode in (("raw", "raw"), ("jpeg", "jpg")):
        split = packs[encoding].splits["train"]
        file = _beton(folder / f"{encoding}.beton", split, mode)
        for mirrored in (True, False):
            name = f"FFCV, {encoding}, uint8" + ("" if mirrored else ", not mirrored")
            yield name, len(split) // BATCH * BATCH, partial(_run_through, _ffcv_loader(file, mirrored))


class _Pixels:
    """What FFCV's writer asks for; it encodes them itself."""

    def __init__(self, split: Split) -> None:
        self._split = split

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self._split.gather(np.array([index]))[0], 0


def _beton(file: Path, split: Split, mode: str) -> Path:
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=90), "label": IntField()}
    DatasetWriter(str(file), fields, num_workers=1).from_indexed_dataset(_Pixels(split))
    return file


def _ffcv_loader(file: Path, mirrored: bool) -> Any:
    from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
    from ffcv.loader import Loader as FfcvLoader
    from ffcv.loader import OrderOption
    from ffcv.transforms import RandomHorizontalFlip, ToTensor

    # A crop of exactly 224 pixels anywhere: it has no other random crop.
    crop = RandomResizedCropRGBImageDecoder((CROP, CROP), scale=((CROP / SIZE) ** 2,) * 2, ratio=(1, 1))
    image = [crop, *([RandomHorizontalFlip()] if mirrored else []), ToTensor()]
    pipelines = {"image": image, "label": [IntDecoder(), ToTensor()]}
    options = {"order": OrderOption.RANDOM, "os_cache": True, "drop_last": True, "batches_ahead": 1}
    return FfcvLoader(str(file), batch_size=BATCH, num_workers=1, pipelines=pipelines, **options)


def _report(ways: list[Way], rounds: int) -> None:
    """Written after each round."""

    def write(seconds: dict[str, Parts]) -> list[dict[str, Any]]:
        rates = {name: images / seconds[name]["all"].cpu for name, images, _ in ways}
        reference = next(iter(rates.values()))
        rows = [{"way": way, "images_per_core_second": rate, "ratio": rate / reference} for way, rate in rates.items()]
        save("loading", rounds, rows, images=len(ways))
        return rows

    rows = write(interleaved({name: timed(execute) for name, _, execute in ways}, rounds, so_far=write))
    print_table(
        ["way", "images per core and second", "times the reference"],
        ([row["way"], f"{row['images_per_core_second']:,.0f}", f"{row['ratio']:.1f}"] for row in rows),
    )


def _by_threads(packs: dict[str, Pack], rounds: int) -> None:
    """By the clock: how two threads compare with one, in turns."""
    torch.set_num_threads(1)
    rows = []
    for encoding, pack in packs.items():
        for kind in ("float32", "uint8"):
            loaders = {threads: _loader(pack, kind, threads) for threads in (1, 2)}
            seen: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(rounds):
                for threads, loader in loaders.items():
                    start = time.perf_counter()
                    _run_through(loader)
                    seen[threads].append(len(pack.splits["train"]) / (time.perf_counter() - start))
            one, two = median(seen[1]), median(seen[2])
            ratio = median(b / a for a, b in zip(seen[1], seen[2], strict=True))
            rows.append({"way": f"{encoding} pack, {kind}", "one": one, "two": two, "ratio": ratio})
    print_table(
        ["way", "one thread, images/s", "two threads, images/s", "ratio"],
        ([str(r["way"]), f"{r['one']:,.0f}", f"{r['two']:,.0f}", f"{r['ratio']:.2f}"] for r in rows),
    )
    print(save("loading_threads", rounds, rows))


def _by_decoder(pack: Pack, rounds: int, device: torch.device) -> None:
    """By the clock and in time on the host's processors: batches on the device, decoded by the host or by it."""
    split, decoder = pack.splits["train"], NvjpegDecoder(device)
    plan = draw_epoch(seed=0, epoch=0, images=len(split), positions=SIZE - CROP)
    parts = batch_parts(len(split), BATCH) * TIMES
    cases: list[tuple[str, NvjpegDecoder | None, int]]
    cases = [("host", None, threads) for threads in sorted({1, 2, available_cpus()})]
    cases += [("device", decoder, threads) for threads in (1, 2)]
    seconds = interleaved(
        {
            f"{name}, {threads} thread{'s' * (threads > 1)}": timed(
                partial(_run_through, Loader(Reader(split, device, by).training(plan), parts=parts, threads=threads))
            )
            for name, by, threads in cases
        },
        rounds,
    )
    images = TIMES * len(split)
    rates = {name: (images / taken["all"].wall, 1e6 * taken["all"].cpu / images) for name, taken in seconds.items()}
    print_table(
        ["decoder", "images/s", "on the host's processors, us an image"],
        ([name, f"{rate:,.0f}", f"{host:.0f}"] for name, (rate, host) in rates.items()),
    )
    rows = [{"way": name, "images_per_second": rate, "host_us": host} for name, (rate, host) in rates.items()]
    print(save("loading_decoders", rounds, rows, images_on=device_name(device)))


if __name__ == "__main__":
    main()
