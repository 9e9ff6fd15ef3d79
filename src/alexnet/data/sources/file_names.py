"""What files and folders are by their names: images, archives, splits, and what lies around.

Every file of a source is an image, or has a kind of "not used". A kind is a few words in the plural, which are shown on
screen and kept with the pack.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from unicodedata import normalize

_IMAGES = """
    .jpg .jpeg .jpe .jfif .png .apng .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm .pfm .avif .avifs .heic .heif
    .hif .jxl .jp2 .j2k .jpf .jpx .jpc .j2c .tga .icb .vda .vst .mpo .ico .cur .icns .psd .pcx .dcx .dds .blp .sgi .rgb
    .rgba .bw .qoi .ras .fits .fit .xbm .xpm .im .imt .p7 .area .msp .ftu .ftc .pcd .fli .flc .gbr .iim .pxr .spider
    .svg .eps .wmf .emf .cr2 .cr3 .nef .arw .dng .raf .orf .rw2 .pef .srw"""
IMAGE_SUFFIXES = frozenset(_IMAGES.split())
"""Files that claim to be images; those of the last line are always rejected, with the reason."""
_OTHERS = """
    .txt .csv .tsv .xml .json .jsonl .yaml .yml .md .rst .html .htm .pdf .doc .docx .xls .xlsx .ppt .log .cfg .ini .db
    .py .ipynb .sh .m .c .h .mat .npy .npz .pkl .pt .pth .bin .h5 .hdf5 .lmdb .mdb .sqlite .cls .parquet .arrow .rec
    .idx .tfrecord .tfrecords .mp4 .avi .mov .mkv .webm .mp3 .wav .url .lnk .webloc .exe .sha256 .md5 .sum"""
_OTHER_SUFFIXES = frozenset(_OTHERS.split())
"""Files whose contents need no look: they claim to be something else."""
ARCHIVE = re.compile(r"\.(?:zip|tar|tgz|tbz2?|txz|tar\.(?:gz|bz2|xz|zst))$", re.IGNORECASE)
"""Suffixes of archives that can be looked into."""
_OTHER_ARCHIVE = re.compile(
    r"\.(?:7z|rar|gz|bz2|xz|zst|lz4|z\d\d|(?:zip|tar|7z|rar|gz)\.?(?:\d{2,3}|part\w*))$", re.IGNORECASE
)

HIDDEN = "hidden files"
LEFTOVERS = "leftovers of an operating system or a network drive"
THUMBNAILS = "thumbnails"
UNFINISHED = "unfinished downloads"
COPIES = "backup and conflicted copies"
UNKNOWN = "files that are no images by their contents"
ARCHIVES = "archives that were not looked into"
OPENED = "archives that were looked into"
LABELS = "labels and class names"
MASKS = "masks of other images"
PACKED = "files of a pack"
LOOSE = "images beside the class folders"
_LEFTOVER_FOLDERS = (
    "__MACOSX", "Network Trash Folder", "Temporary Items", "TheVolumeSettingsFolder",  # macOS
    "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "lost+found",  # Windows, Linux
    "#recycle", "#snapshot", "@tmp", "@Recycle", "@Recently-Snapshot", "@sharebin", "@Transcode",  # Synology, QNAP
    "__pycache__",
)  # fmt: skip
AROUND = re.compile(
    rf"""(?:^|/)(?:
    (?P<thumbnails>@eaDir/|\.@__thumb/|\.thumbnails/|\.?_?thumbs?\.db|ehthumbs\w*\.db|SYNOPHOTO_THUMB|SYNOFILE_THUMB)
    |(?P<leftovers>(?:{"|".join(map(re.escape, _LEFTOVER_FOLDERS))})/
        |desktop\.ini$|Icon\r$|~\$)
    |(?P<hidden>\.(?!\.?/))
    |(?P<unfinished>[^/]*\.(?:part|partial|crdownload|opdownload|download(?:ing)?|tmp|filepart|!qb|!ut|bc!)$)
    |(?P<copies>[^/]*(?:~$|\.(?:bak|swp|orig)$|\([^/]*(?:conflicted\ copy|case\ conflict)[^/]*\)|\.sync-conflict-\d))
    )""",
    re.VERBOSE | re.IGNORECASE,
)
"""Files and folders that are none of the set's own."""
_KINDS = {
    "thumbnails": THUMBNAILS, "leftovers": LEFTOVERS, "hidden": HIDDEN, "unfinished": UNFINISHED, "copies": COPIES
}  # fmt: skip
THUMBNAIL_FOLDERS = frozenset(("thumbs", "thumb", "_thumbs", "thumbnails", "_thumbnails"))
"""Inside class folders; at the place of one, it is a class."""


def kind_of(name: str) -> str | None:
    """Return the kind of "not used" of a file, or a folder that ends with '/', by its path; None for an image."""
    if around := AROUND.search(name):
        return _KINDS[str(around.lastgroup)]
    suffix = suffix_of(name)
    if suffix in IMAGE_SUFFIXES:
        return None
    if suffix in _OTHER_SUFFIXES:
        return f"{suffix} files"
    return ARCHIVES if ARCHIVE.search(name) or _OTHER_ARCHIVE.search(name) else UNKNOWN


def suffix_of(name: str) -> str:
    """Return the suffix of a file's name in lower case, with its dot; an empty one if there is none."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > name.rfind("/") else ""


def stem_of(name: str) -> str:
    """Return a file's name without its suffix, folders and capitals as they are."""
    return name[: len(name) - len(suffix_of(name))]


def is_part(name: str) -> bool:
    """Whether a file of this name is a part of an archive, or an archive of a kind that is not read."""
    return ARCHIVE.search(name) is None and _OTHER_ARCHIVE.search(name) is not None


_MASK = re.compile(r"[ _.-](?:mask|seg|segmentation|trimap)s?(?:[ _.-]?\d+)?$", re.IGNORECASE)
_MASK_FOLDERS = re.compile(r"(?<![^/])(?:(?:annotations?|masks?|segmentations?|trimaps?)/)+", re.IGNORECASE)


def images_of_mask(name: str) -> set[str]:
    """Return what the image may be called, without its suffix, that a file is a mask of if that image is there."""
    stem = stem_of(name)
    image = _MASK.sub("", stem)
    return {image, *(_MASK_FOLDERS.sub(folder, image) for folder in ("images/", ""))} - {stem}


def without_suffix(archive: str) -> str:
    """Return the folder that an archive is listed as: `train/n01440764` for `train/n01440764.tar.gz`."""
    return ARCHIVE.sub("", archive)


def looks_like_image(head: bytes) -> bool:
    """Whether a file begins, with these 32 bytes or fewer, as an image of a usual format does."""
    return head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP") or head[4:12] in _BRANDS


_SIGNATURES = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"8BPS\0\1", b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"qoif", b"\0\0\1\0",
    b"\x59\xa6\x6a\x95",
    *(b"P%d%c" % (form, white) for form in range(1, 7) for white in b" \n\r\t"),
)  # fmt: skip
_BRANDS = frozenset(b"ftyp" + brand for brand in (b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"))

_SYNONYMS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "dev", "devel", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
_SPLIT_OF = {word: split for split, words in _SYNONYMS.items() for word in words}
_AFFIX = r"(?:set|sets|data|split|images|imgs|img|image|folder|files|jpg|jpeg|png)"
_SPLIT = re.compile(rf"(?:{_AFFIX}[ _.-]+)*(?P<word>{'|'.join(_SPLIT_OF)})(?:[ _.-]*(?:{_AFFIX}|\d+))*", re.IGNORECASE)


def split_of(folder: str) -> str | None:
    """Return the split that a folder holds by its name: `Val`, `validation_set` and `val2017` are val."""
    found = _SPLIT.fullmatch(folder)
    return _SPLIT_OF[found["word"].lower()] if found else None


def split_of_shard(name: str) -> str | None:
    """Return the split of a file of many images: the one word for a split that its name has, as in `set-val-000000`."""
    words = {_SPLIT_OF.get(word) for word in re.split(r"[^a-z]+", name.lower())} - {None}
    return words.pop() if len(words) == 1 else None


def is_list_of_split(name: str) -> bool:
    """Whether a text's name says that it lists the images of a split, or of several."""
    words = re.split(r"[^a-z]+", name.rpartition("/")[2].lower())
    return any(word in _SPLIT_OF or word in ("split", "splits", "trainval", "trainlist", "testlist") for word in words)


def is_wordnet_id(name: str) -> bool:
    """Whether a name is a synset's, such as n01440764."""
    return re.fullmatch(r"n\d{8}", name) is not None


def class_of_file(name: str) -> str | None:
    """Return the WordNet ID in a name such as `n01440764_1.JPEG` or `ILSVRC2012_val_00000001_n01440764.JPEG`."""
    found = re.fullmatch(r"(?:(n\d{8})_\d+(?:_n\d{8})?|.*_(n\d{8}))\.\w+", name.rpartition("/")[2])
    return found[1] or found[2] if found else None


def class_name(folder: str) -> str:
    """Return a class folder's name as names are compared: composed, as systems other than macOS write it."""
    return folder if folder.isascii() else normalize("NFC", folder)


def told_apart(called: Sequence[str], by: Iterable[object]) -> list[str]:
    """Put in brackets behind names that are there twice what tells them apart."""
    times = Counter(called)
    return [name if times[name] == 1 else f"{name} ({other})" for name, other in zip(called, by, strict=True)]


def in_order(classes: set[str]) -> list[str]:
    """Sort classes by name, or by number where all of them are numbers."""
    numeric = all(name.isascii() and name.isdecimal() for name in classes)
    return sorted(classes, key=lambda name: (int(name), name)) if numeric else sorted(classes)
