"""Images decoded where the network is. On a CPU torchvision decodes lists too: all but nvJPEG itself is tried there."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import simplejpeg
import torch
import torchvision.io
from PIL import Image

from alexnet.config.schema import Config
from alexnet.data.augment import EpochPlan, draw_epoch
from alexnet.data.loading import Loader, NvjpegDecoder, Reader, batch_parts
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.splits import JpegSplit
from alexnet.data.pack.writer import PackWriter
from alexnet.data.sources.images import JpegQuality, encode
from alexnet.errors import UserError
from alexnet.training.datamodule import PackDataModule
from tests.conftest import Compose

SIZE = 64
COUNTS = {"train": 23, "val": 11, "test": 7}
CPU = torch.device("cpu")
NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
DEVICES = [pytest.param(CPU, id="cpu"), pytest.param(torch.device("cuda", 0), marks=NEEDS_GPU, id="cuda")]


def blobs(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Patches of strong colours with soft edges."""
    few = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(few).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def write(path: Path, subsampling: str) -> Pack:
    labels = {split: np.arange(count) % 5 for split, count in COUNTS.items()}
    jpeg = JpegQuality(subsampling=subsampling)
    arguments = {"image_size": SIZE, "class_names": list("abcde"), "labels": labels, "shard_bytes": 10_000}
    with PackWriter(path, jpeg=jpeg, **arguments) as to:
        for number, split in enumerate(COUNTS):
            for image in range(COUNTS[split]):
                to.put(split, image, to.encode(blobs(100 * number + image)))
        return to.finish({})


@pytest.fixture(scope="module", params=["420", "422", "444"])
def pack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return write(tmp_path_factory.mktemp("packs") / "blobs", request.param)


@pytest.fixture
def split(tmp_path: Path) -> JpegSplit:
    """Its last image lies in a shard that may be damaged."""
    train = write(tmp_path / "blobs", "420").splits["train"]
    assert isinstance(train, JpegSplit) and len(train._bytes._paths) > 1
    return train


def planned() -> EpochPlan:
    return draw_epoch(seed=1, epoch=2, images=COUNTS["train"], positions=8)


def nearest(split: JpegSplit, indices: np.ndarray) -> np.ndarray:
    """As libjpeg-turbo decodes when it repeats subsampled colours, which nvJPEG's default is said to do."""
    return np.stack([simplejpeg.decode_jpeg(file, fastupsample=True) for file in split.files(indices)])


@pytest.mark.parametrize("device", DEVICES)
def test_the_pixels_are_the_host_s_within_the_decoder_s_rounding_and_colours(pack: Pack, device: torch.device) -> None:
    """On a CPU both are libjpeg-turbo: the same. nvJPEG may repeat colours, and round otherwise."""
    split, indices = pack.splits["train"], np.array([22, 3, 3, 0, 17])
    assert isinstance(split, JpegSplit)
    images = NvjpegDecoder(device).gather(split, indices)
    assert images.device == device and images.dtype == torch.uint8 and images.is_contiguous()
    host = split.gather(indices).astype(int)
    difference = np.abs(images.cpu().numpy() - host)
    if device.type == "cpu":
        assert not difference.any()
    else:
        of_colours = np.abs(nearest(split, indices) - host)  # none in 4:4:4
        assert difference.max() <= of_colours.max() + 4 and difference.mean() <= of_colours.mean() + 1


@pytest.mark.parametrize(("subsampling", "levels"), [("444", 0), ("422", 10), ("420", 10)])
def test_repeated_colours_are_far_from_rounding_unless_there_are_as_many_as_pixels(
    subsampling: str, levels: int
) -> None:
    """What the bounds above, and that the decoder is part of what a run is, rest on."""
    file = encode(blobs(0), JpegQuality(subsampling=subsampling))
    smooth, repeated = (simplejpeg.decode_jpeg(file, fastupsample=fast).astype(int) for fast in (False, True))
    assert np.abs(smooth - repeated).max() >= levels and (smooth != repeated).any() == (levels > 0)


@pytest.mark.parametrize("device", DEVICES)
def test_training_batches_come_in_order_with_the_host_s_draws(pack: Pack, device: torch.device) -> None:
    split, plan = pack.splits["train"], planned()
    parts, decoder = batch_parts(COUNTS["train"], 5), NvjpegDecoder(device)
    batches = list(Loader(Reader(split, device, decoder).training(plan), parts=parts, threads=3))
    assert [len(batch.labels) for batch in batches] == [5, 5, 5, 5, 3]
    for one, other in zip(batches, Loader(Reader(split, device).training(plan), parts=parts), strict=True):
        assert one.images.device == device
        assert (one.images.cpu().float() - other.images.float()).abs().mean() < 15  # two of them differ by about 70
        for mine, hosts in zip(one[1:], other[1:], strict=True):
            assert torch.equal(mine, hosts)


def test_a_copy_of_the_network_may_have_no_part_of_a_batch(pack: Pack) -> None:
    images = NvjpegDecoder(CPU).gather(pack.splits["train"], np.arange(0))
    assert images.shape == (0, SIZE, SIZE, 3) and images.dtype == torch.uint8


@pytest.fixture
def config(compose: Compose) -> Config:
    sizes = [f"scale.image_size={SIZE}", "scale.crop_size=56", "optimizer.batch_size=5", "hardware.eval_batch_size=40"]
    return compose(*sizes, "data.decoder=nvjpeg")


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_is_evaluated_by_the_decoder_that_it_is_trained_by(
    pack: Pack, config: Config, device: torch.device
) -> None:
    data = PackDataModule(pack, config)
    strategy = SimpleNamespace(root_device=device)
    data.trainer = SimpleNamespace(current_epoch=0, strategy=strategy)  # type: ignore[assignment]
    loaders = [*data.val_dataloader(), *data.test_dataloader()]
    for name, batches in zip(("val", "val", "test"), loaders, strict=True):
        seen = list(batches)
        assert {images.device for images, _ in seen} == {device} == {data._decoder._device if data._decoder else None}
        images, labels = (torch.cat(tensors).cpu() for tensors in zip(*seen, strict=True))
        assert labels.tolist() == pack.splits[name].labels.tolist()
        expected = torch.from_numpy(pack.splits[name].gather(np.arange(COUNTS[name])))
        assert (images.float() - expected.float()).abs().mean() < (15 if device.type == "cuda" else 1e-9)


def test_the_host_decodes_unless_the_device_is_asked(pack: Pack, compose: Compose) -> None:
    assert PackDataModule(pack, compose())._decoder is None


def overwrite(split: JpegSplit, index: int, data: bytes) -> JpegSplit:
    """The split with other bytes at the beginning of an image's file."""
    start, _ = split.byte_ranges[index].tolist()
    shard = int(np.searchsorted(split._bytes._starts, start, "right")) - 1
    with split._bytes._paths[shard].open("r+b") as file:
        file.seek(start - int(split._bytes._starts[shard]))
        file.write(data)
    return JpegSplit(split._bytes._paths, SIZE, np.asarray(split.labels), np.asarray(split.byte_ranges))


def test_one_thread_reads_while_another_decodes(split: JpegSplit) -> None:
    decoder, read = NvjpegDecoder(CPU), threading.Event()

    class Files(list[np.ndarray]):
        def __iter__(self) -> Iterator[np.ndarray]:
            yield from super().__iter__()
            read.set()

    files = Files(split.files(np.arange(3)))
    split.files = lambda _: files  # type: ignore[method-assign]
    with decoder._lock, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(decoder.gather, split, np.arange(3))
        assert read.wait(5) and not waiting.done()
        decoder._lock.release()
        try:
            assert len(waiting.result(5)) == 3
        finally:
            decoder._lock.acquire()


@pytest.mark.parametrize("device", DEVICES)
def test_a_damaged_image_is_named(split: JpegSplit, device: torch.device) -> None:
    damaged, decoder = overwrite(split, 22, b"damaged"), NvjpegDecoder(device)
    with pytest.raises(UserError, match=r"train-0000[1-9]\.jpeg: image 22 is damaged .*alexnet verify") as caught:
        decoder.gather(damaged, np.array([4, 22, 5]))
    assert "\n" not in str(caught.value)
    assert decoder.gather(damaged, np.array([4, 5])).shape == (2, SIZE, SIZE, 3)


@pytest.mark.parametrize("others", [[], [4, 5]], ids=["alone", "among others"])
def test_an_image_of_another_size_is_named(split: JpegSplit, others: list[int]) -> None:
    small = encode(np.zeros((SIZE // 2, SIZE, 3), np.uint8), JpegQuality())
    with pytest.raises(UserError, match=rf"image 22 is damaged \(it is {SIZE} x {SIZE // 2} pixels\)"):
        NvjpegDecoder(CPU).gather(overwrite(split, 22, small), np.array([*others, 22]))


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Exception]]:
    """torchvision's decoder, which raises what is put into the list."""
    errors: list[Exception] = []
    original = torchvision.io.decode_jpeg

    def decode(*arguments: object) -> object:
        if errors:
            raise errors[0]
        return original(*arguments)

    monkeypatch.setattr(torchvision.io, "decode_jpeg", decode)
    yield errors


def test_a_failure_that_is_no_image_s_is_told_apart(split: JpegSplit, failing: list[Exception]) -> None:
    decoder = NvjpegDecoder(CPU)
    failing.append(RuntimeError("Failed to decode batch: 6\nException raised from"))
    with pytest.raises(UserError, match=r"data.decoder=nvjpeg: nvJPEG failed .*\(Failed .*: 6\); choose cpu"):
        decoder.gather(split, np.arange(3))
    failing[0] = torch.OutOfMemoryError("a smaller batch would do")
    with pytest.raises(torch.OutOfMemoryError):
        decoder.gather(split, np.arange(3))


def test_a_torchvision_without_nvjpeg_is_refused(failing: list[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    failing.append(RuntimeError("decode_jpegs_cuda: torchvision not compiled with nvJPEG support"))
    with pytest.raises(UserError, match=r"data.decoder=nvjpeg: .*not compiled with nvJPEG.*or choose cpu"):
        NvjpegDecoder(CPU)
    monkeypatch.delattr(torchvision.io, "decode_jpeg")  # as its successors will
    with pytest.raises(UserError, match=r"data.decoder=nvjpeg: .*cannot import name 'decode_jpeg'.*or choose cpu"):
        NvjpegDecoder(CPU)


@NEEDS_GPU
def test_no_batch_is_written_over_while_the_network_still_reads_it(pack: Pack) -> None:
    """nvJPEG does not wait for the stream that its memory is of; the network is far behind when batches are freed."""
    device, split, plan = torch.device("cuda", 0), pack.splits["train"], planned()
    decoder, parts = NvjpegDecoder(device), batch_parts(COUNTS["train"], 5) * 40
    expected = [int(decoder.gather(split, plan.order[part]).long().sum()) for part in parts[:5]] * 40
    slow, sums = torch.randn(2048, 2048, device=device), []
    for batch in Loader(Reader(split, device, decoder).training(plan), parts=parts, threads=3):
        slow = (slow @ slow).tanh()
        sums.append(batch.images.long().sum())
    assert torch.stack(sums).tolist() == expected
