"""Writing a pack: under a temporary name beside its place, renamed when complete, removed when not."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from alexnet.data.pack import FORMAT, VERSION, Pack, file_sha256, is_pack, open_pack
from alexnet.data.statistics import PixelSums, Statistics
from alexnet.errors import UserError

SHARD_BYTES = 2**30
CHUNK_BYTES = 2**25
"""Images are read back in pieces of this size for checksums and statistics."""


class _Slots:
    """The images of one split in shard files, one slot per image, filled in any order."""

    def __init__(self, folder: Path, split: str, labels: npt.NDArray[np.int64], image_size: int, shard_bytes: int):
        self.split, self.labels = split, labels
        self.kept = np.zeros(len(labels), bool)
        self._folder, self._shape = folder, (image_size, image_size, 3)
        self._bytes = image_size * image_size * 3
        self._per_shard = max(1, shard_bytes // self._bytes)
        self._files: dict[int, IO[bytes]] = {}

    def write(self, slot: int, image: npt.NDArray[np.uint8]) -> None:
        assert image.shape == self._shape and image.dtype == np.uint8
        self._at(slot).write(image.tobytes())

    def _at(self, slot: int) -> IO[bytes]:
        """The slot's shard, positioned at the slot."""
        shard, row = divmod(slot, self._per_shard)
        if shard not in self._files:
            self._files[shard] = (self._folder / f"{self.split}-{shard:05d}.raw").open("w+b")
        self._files[shard].seek(row * self._bytes)
        return self._files[shard]

    def close_gaps(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Move kept images over the slots of rejected ones; yields the kept images in order, in pieces."""
        step = max(1, min(CHUNK_BYTES // self._bytes, self._per_shard))
        written = 0
        for first in range(0, len(self.kept), step):
            slots = np.flatnonzero(self.kept[first : first + step]) + first
            if len(slots):
                yield self._move(slots, written)
                written += len(slots)

    def _move(self, slots: npt.NDArray[np.intp], to: int) -> npt.NDArray[np.uint8]:
        """Read the images in `slots` and see that they lie in the slots from `to` on."""
        images = np.stack([np.frombuffer(self._at(int(slot)).read(self._bytes), np.uint8) for slot in slots])
        images = images.reshape(-1, *self._shape)
        for offset, slot in enumerate(slots):
            if slot != to + offset:
                self.write(to + offset, images[offset])
        return images

    def finish(self) -> list[str]:
        """Cut off what lies behind the kept images; returns the names of the shards, in order."""
        images = int(self.kept.sum())
        for shard, file in sorted(self._files.items()):
            held = min(max(images - shard * self._per_shard, 0), self._per_shard)
            file.truncate(held * self._bytes)
            file.close()
            if not held:
                (self._folder / Path(file.name).name).unlink()
        return [f"{self.split}-{shard:05d}.raw" for shard in range(-(-images // self._per_shard))]

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class PackWriter:
    """Writes one pack; every image has a slot in its split, and each is put or rejected, in any order.

    Used as a context manager: leaving it before `finish` (an error, Ctrl-C) removes everything that was written.
    A disk that is full or may not be written to is a `UserError`.
    """

    def __init__(
        self,
        path: Path,
        *,
        image_size: int,
        class_names: list[str],
        labels: dict[str, npt.NDArray[np.int64]],
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.path, self.image_size, self.class_names = path, image_size, class_names
        self.rejected: dict[str, str] = {}
        """Reasons by name of the image in its source."""
        self._folder = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.partial"
        self._new_parents = [folder for folder in path.parents if not folder.exists()]
        self._slots = {
            split: _Slots(self._folder, split, of_split, image_size, shard_bytes) for split, of_split in labels.items()
        }

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True)
        except OSError as error:
            raise self._unwritable(error) from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for slots in self._slots.values():
            slots.close()
        if self._folder.exists():
            shutil.rmtree(self._folder)
        if not self.path.exists():
            self._remove_new_parents()
        if isinstance(error, OSError):
            raise self._unwritable(error) from error

    def put(self, split: str, slot: int, image: npt.NDArray[np.uint8]) -> None:
        """Keep `image`, uint8 [S, S, 3], as number `slot` of the split."""
        self._slots[split].write(slot, image)
        self._slots[split].kept[slot] = True

    def reject(self, name: str, reason: str) -> None:
        """Leave the slot of the image `name` out."""
        self.rejected[name] = reason

    def kept_per_class(self, split: str) -> npt.NDArray[np.int64]:
        """int64 [classes]: images kept so far."""
        slots = self._slots[split]
        return np.bincount(slots.labels[slots.kept], minlength=len(self.class_names))

    def finish(self, made: dict[str, Any]) -> Pack:
        """Complete the pack, give it its name and open it; `made` says how it was made, for `pack.json`.

        Where another process has finished the same pack in the meantime, that one is opened.
        """
        sums = PixelSums(self.image_size)
        splits = {split: self._finish_split(slots, sums) for split, slots in self._slots.items()}
        statistics = sums.statistics()
        np.save(self._folder / "mean.npy", statistics.mean_image)
        self._write_rejected()
        self._write_header(splits, statistics, made)
        self._publish()
        return open_pack(self.path)

    def _finish_split(self, slots: _Slots, sums: PixelSums) -> dict[str, Any]:
        for images in slots.close_gaps():
            if slots.split == "train":
                sums.add(images)
        labels = slots.labels[slots.kept].astype(np.int64)
        np.save(self._folder / f"{slots.split}-labels.npy", labels)
        return {"images": len(labels), "labels": f"{slots.split}-labels.npy", "shards": slots.finish()}

    def _write_rejected(self) -> None:
        if self.rejected:
            lines = "".join(f"{name}\t{reason}\n" for name, reason in sorted(self.rejected.items()))
            (self._folder / "rejected.txt").write_text(lines, encoding="utf-8", errors="backslashreplace")

    def _write_header(self, splits: dict[str, Any], statistics: Statistics, made: dict[str, Any]) -> None:
        files = [file for file in sorted(self._folder.iterdir()) if file.name != "rejected.txt"]
        header = {
            "format": FORMAT,
            "version": VERSION,
            "encoding": "raw",
            "image_size": self.image_size,
            "splits": splits,
            "made": {**made, "rejected": len(self.rejected)},
            "statistics": {
                "channel_means": statistics.channel_means.tolist(),
                "covariance": statistics.covariance.tolist(),
                "eigenvalues": statistics.eigenvalues.tolist(),
                "eigenvectors": statistics.eigenvectors.tolist(),
            },
            "class_names": self.class_names,
            "files": {file.name: {"bytes": file.stat().st_size, "sha256": file_sha256(file)} for file in files},
        }
        (self._folder / "pack.json").write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")

    def _publish(self) -> None:
        try:
            self._folder.rename(self.path)  # never replaces a directory that holds something
        except OSError:
            if not is_pack(self.path):
                raise

    def _remove_new_parents(self) -> None:
        for folder in self._new_parents:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(f"the pack {self.path} cannot be written: {error.strerror or error}")
