"""The writer of packs: appends images as they come under a temporary name, and renames the complete pack.

A journal lists what the shards hold. A killed writer leaves both behind, and the next writer of the same job resumes
after the last image in the journal, so that the finished pack has the same bytes.
"""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from alexnet.data.pack.pack import FOR_PEOPLE, FORMAT, VERSION, Pack, header_checksum, open_pack
from alexnet.data.pack.splits import PIECE, Digests, JpegSplit, RawSplit, Shards, Split
from alexnet.data.pack.statistics import PixelStats, RunningPixelStats
from alexnet.data.sources.images import JpegQuality, encode
from alexnet.data.threads import ParallelMap
from alexnet.errors import UserError, first_line, plural, printable
from alexnet.files import replace_file
from alexnet.untrusted import file_sha256

SHARD_BYTES = 2**30
JOURNAL_SECONDS = 2.0  # the most work lost when the machine stops
_JOB, _JOURNAL = "job.json", "journal.jsonl"


class PackWriter:
    """Writes one pack; every image has a slot in its split, and images come in an order that is always the same.

    A context manager. An interruption leaves what was written to the next writer of the same `job`. A disk that is full
    or read-only is a `UserError`.
    """

    def __init__(
        self,
        path: Path,
        *,
        image_size: int,
        class_names: list[str],
        labels: dict[str, npt.NDArray[np.int64]],
        jpeg: JpegQuality | None = None,
        job: dict[str, Any] | None = None,
        shard_bytes: int = SHARD_BYTES,
    ) -> None:
        """Take the `labels` of all slots, int64 [N], by split. Without `jpeg` the pack is raw.

        `job` holds everything else that determines the bytes of the pack.
        """
        self.path, self.image_size, self.class_names, self.jpeg = path, image_size, class_names, jpeg
        self.encoding = "raw" if jpeg is None else "jpeg"
        self.done = 0
        """Images that have come so far, kept or not, those of earlier writers included."""
        self.rejected: dict[str, str] = {}
        self.unusual: dict[str, list[str]] = {}
        """Reasons, and what was out of the ordinary, by name of the image in its source."""
        self.discarded = False
        """Whether unfinished work of another job for the same target was deleted."""
        self._partial = path.parent / f".{path.name}.partial"
        self.folder = self._folder = self._partial / "pack"
        """Where the files of the pack lie until it is complete."""
        what = [self.encoding, image_size, class_names, asdict(jpeg) if jpeg else None, job]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode())
        for split, of_split in labels.items():
            digest.update(f"\n{split}:".encode())
            digest.update(of_split.data)
        self._job = digest.hexdigest()
        self._shards = {
            split: Shards(self._folder, split, f".{self.encoding}", of_split, shard_bytes)
            for split, of_split in labels.items()
        }
        self._unwritten: list[list[Any]] = []
        """Images that the journal lacks: split, slot and bytes, then name and notes of an unusual one; name and reason
        of one that was rejected."""
        self._written = time.monotonic()

    def __enter__(self) -> Self:
        links = [place for place in (self._partial, *self._partial.rglob("*")) if place.is_symlink()]
        if links:  # in a shared folder of packs anybody could plant one
            raise UserError(f"{links[0]}: a symbolic link, which is not followed; remove it and repeat the command")
        try:
            if not self._resumes():
                self.discarded = (self._partial / _JOURNAL).exists()
                shutil.rmtree(self._partial, ignore_errors=True)
                self._folder.mkdir(parents=True)
                (self._partial / _JOB).write_text(self._job, encoding="utf-8")
            for shards in self._shards.values():
                shards.cut()
        except OSError as error:
            raise self._unwritable(error) from None
        except (ValueError, LookupError, TypeError) as error:
            what = f"the unfinished work there is damaged ({first_line(error)})"
            raise UserError(f"{self._partial}: {what}; delete it and repeat the command") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        with suppress(OSError):  # the disk is full: what the journal lacks is done again
            self._close(write=isinstance(error, KeyboardInterrupt | SystemExit | OSError))
        if self._partial.exists() and (self.path.exists() or not (self._partial / _JOURNAL).exists()):
            shutil.rmtree(self._partial)
        if isinstance(error, OSError):
            raise self._unwritable(error) from error

    def encode(self, square: npt.NDArray[np.uint8]) -> bytes:
        """Encode uint8 [S, S, 3] as the pack stores it. Releases the GIL; may be called from several threads."""
        assert square.shape == (self.image_size, self.image_size, 3) and square.dtype == np.uint8
        return square.tobytes() if self.jpeg is None else encode(square, self.jpeg)

    def put(self, split: str, slot: int, data: bytes, *, name: str = "", unusual: Sequence[str] = ()) -> None:
        """Append an encoded image, number `slot` of the split."""
        self._shards[split].append(slot, data)
        self._arrived([split, slot, len(data), *([name, list(unusual)] if unusual else [])])

    def reject(self, name: str, reason: str) -> None:
        """Leave the slot of the image `name` empty."""
        self._arrived([name, reason])

    def kept_per_class(self, split: str) -> npt.NDArray[np.int64]:
        """Count the images kept so far, int64 [classes]."""
        return np.bincount(self.kept_slots(split)[0], minlength=len(self.class_names))

    def kept_slots(self, split: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Labels and slots, int64 [n] each, of the images kept so far."""
        slots = self._shards[split].kept()
        return self._shards[split].labels[slots], slots

    def opened(self, split: str) -> Split:
        """Open the images kept, by class; to be called when all have come."""
        labels, slots = self.kept_slots(split)
        shards, byte_ranges = self._shards[split].paths, self._shards[split].byte_ranges[slots]
        if self.jpeg is not None:
            return JpegSplit(shards, self.image_size, labels, byte_ranges)
        return RawSplit(shards, self.image_size, labels, self._order(byte_ranges))

    def _order(self, byte_ranges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the place of each raw image in the shards, of where its bytes begin."""
        return np.asarray(byte_ranges[:, 0] // (self.image_size**2 * 3))

    def digests(self, threads: int) -> dict[str, Digests]:
        """Hash every image kept, by split; to be called when all have come."""
        self._close(write=True)
        return {split: shards.digests(threads) for split, shards in self._shards.items()}

    def drop(self, images: Iterable[tuple[str, int]]) -> None:
        """Leave out images that have come already, by split and slot. After an interruption all images come again."""
        (self._partial / _JOURNAL).unlink(missing_ok=True)
        spare = self._partial / "spare"
        shutil.rmtree(spare, ignore_errors=True)
        spare.mkdir()
        slots: dict[str, list[int]] = {}
        for split, slot in images:
            slots.setdefault(split, []).append(slot)
        for split, of_split in slots.items():
            self._shards[split].drop(np.array(of_split, np.int64), spare)

    def finish(
        self, made: dict[str, Any], *, threads: int = 1, advance: Callable[[int], None] = lambda _: None
    ) -> Pack:
        """Complete the pack, give it its name and open it; `made` says in `pack.json` how it was made.

        `advance` is called with the number of images read back for the statistics since the last call.
        """
        self._close(write=True)
        splits = {split: self._finish_split(shards) for split, shards in self._shards.items()}
        statistics = self._measure(threads, advance)
        np.save(self._folder / "mean.npy", statistics.mean_image)
        self._write_header(splits, statistics, made, threads)
        self._folder.rename(self.path)  # never replaces a directory that holds something
        return open_pack(self.path)

    def _resumes(self) -> bool:
        """Whether another writer has begun the same job here; take over what it has done."""
        job, journal = self._partial / _JOB, self._partial / _JOURNAL
        if not (job.is_file() and self._folder.is_dir()) or job.read_text(encoding="utf-8") != self._job:
            return False
        if not journal.is_file():
            return True
        whole = 0
        with journal.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # the last line may be cut off
                    for arrival in json.loads(line):
                        if len(arrival) > 2:
                            self._shards[arrival[0]].place(*arrival[1:3])
                        self._count(arrival)
                    whole += len(line)
        os.truncate(journal, whole)
        return True

    def _count(self, arrival: list[Any]) -> None:
        self.done += 1
        if len(arrival) == 2:
            self.rejected[arrival[0]] = arrival[1]
        elif len(arrival) > 3:
            self.unusual[arrival[3]] = arrival[4]

    def _arrived(self, arrival: list[Any]) -> None:
        self._unwritten.append(arrival)  # in one step: the journal knows an image wholly or not, wherever Ctrl-C comes
        self._count(arrival)
        if time.monotonic() - self._written > JOURNAL_SECONDS:
            self._write_journal()

    def _write_journal(self) -> None:
        """First the images, then what says that they are there."""
        for shards in self._shards.values():
            shards.sync()
        arrived, self._unwritten = self._unwritten, []
        with (self._partial / _JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(arrived, separators=(",", ":")) + "\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._written = time.monotonic()

    def _close(self, *, write: bool) -> None:
        if write and self._unwritten:
            self._write_journal()
        for shards in self._shards.values():
            shards.close()

    def _finish_split(self, shards: Shards) -> dict[str, Any]:
        """Write labels and index; returns the split's entry of `pack.json`."""
        slots = shards.kept()
        labels, byte_ranges = shards.labels[slots], shards.byte_ranges[slots]
        in_order = bool((byte_ranges[1:, 0] >= byte_ranges[:-1, 0]).all())
        arrays = {"labels": labels}
        if self.encoding == "jpeg":
            arrays["spans"] = byte_ranges
        elif not in_order:
            arrays["order"] = self._order(byte_ranges)
        entry: dict[str, Any] = {"images": len(labels)}
        for name, array in arrays.items():
            entry[name] = f"{shards.split}-{name}.npy"
            np.save(self._folder / entry[name], array)
        if not in_order:
            entry["in_order"] = shards.contents_in_order()
        return {**entry, "shards": [path.name for path in shards.paths]}

    def _measure(self, threads: int, advance: Callable[[int], None]) -> PixelStats:
        """Take the statistics of the training images as the pack holds them."""
        split = self.opened("train")

        def sums_of(first: int) -> RunningPixelStats:
            sums = RunningPixelStats(self.image_size)
            for block in split.blocks(np.arange(first, min(first + PIECE, len(split)))):
                sums.add(block.images[block.rows])
            return sums

        total = RunningPixelStats(self.image_size)
        with closing(ParallelMap(sums_of, range(0, len(split), PIECE), threads)) as pieces:
            for sums in pieces:
                total.merge(sums)
                advance(sums.images)
        return total.statistics()

    def _write_header(self, splits: dict[str, Any], statistics: PixelStats, made: dict[str, Any], threads: int) -> None:
        unusual = {name: ", ".join(notes) for name, notes in self.unusual.items()}
        for file, listed in (("rejected.txt", self.rejected), ("unusual.txt", unusual)):
            if listed:
                lines = (f"{printable(name)}\t{what}\n" for name, what in sorted(listed.items()))
                (self._folder / file).write_text("".join(lines), encoding="utf-8", errors="backslashreplace")
        # Without the header itself, which an interrupted writer may have left.
        files = sorted(file for file in self._folder.iterdir() if "pack.json" not in file.name)
        with closing(ParallelMap(file_sha256, files, threads)) as sums:
            pairs = zip(files, sums, strict=True)
            entries = {file.name: {"bytes": file.stat().st_size, "sha256": sha256} for file, sha256 in pairs}
        figures = ("channel_means", "covariance", "eigenvalues", "eigenvectors")
        header: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "encoding": self.encoding,
            **({"jpeg": asdict(self.jpeg)} if self.jpeg else {}),
            "image_size": self.image_size,
            "splits": splits,
            "made": {**made, "rejected": len(self.rejected), "unusual": self.unusual_counts},
            "statistics": {name: getattr(statistics, name).tolist() for name in figures},
            "class_names": self.class_names,
            "files": {name: entry for name, entry in entries.items() if name not in FOR_PEOPLE},
            "for_people": {name: entry for name, entry in entries.items() if name in FOR_PEOPLE},
        }
        header["checksum"] = header_checksum(header)
        replace_file(self._folder / "pack.json", (json.dumps(header, indent=1) + "\n").encode())

    @property
    def unusual_counts(self) -> dict[str, int]:
        """How many images were out of the ordinary in each way, the most frequent first."""
        counts = Counter(note for notes in self.unusual.values() for note in notes)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _unwritable(self, error: OSError) -> UserError:
        done = plural(self.done, "image is", "images are")
        kept = f"; {done} done: make room and repeat the command to resume" if self.done else ""
        return UserError(f"the pack {self.path} cannot be written: {error.strerror or error}{kept}")
