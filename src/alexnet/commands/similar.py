"""`alexnet similar` and `alexnet codes` (section 6.1): images alike, by exact search or by short binary codes."""

from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from alexnet.config.values import DataConfig
from alexnet.data.pack.pack import Pack
from alexnet.data.pack.prepare import open_data
from alexnet.errors import UserError
from alexnet.terminal import Terminal
from alexnet.trained.network import TrainedModel, load_trained
from alexnet.trained.similar import draw_images, make_codes, nearest_by_codes, nearest_training_images, read_images

FIGURE_4 = 5
"""Query images in the paper's figure."""


def similar(file: Path, source: Path, *, queries: list[Path], layer: str, bits: int | None, k: int, seed: int) -> None:
    """List the neighbors of each query; without image files, of held-out images drawn by `seed`."""
    trained, pack = _open(file, source)
    if queries:
        names, images = [str(path) for path in queries], read_images(queries, pack.image_size)
    else:
        names, images = draw_images(pack, FIGURE_4, seed)
    train = pack.splits["train"]
    if not 1 <= k <= len(train):
        raise UserError(f"-k {k}: the pack has {len(train):,} training images")
    if bits is None:
        indices, distances = nearest_training_images(trained, images, train, layer=layer, k=k)
    else:
        indices, distances = nearest_by_codes(trained, images, pack, layer=layer, bits=bits, k=k)
    console = Terminal()
    for name, *found in zip(names, indices, distances, strict=True):
        table = Table("training image", "class", box=SIMPLE)
        table.add_column("bits" if bits else "distance", justify="right")
        for index, distance in zip(*found, strict=True):
            table.add_row(f"#{index}", Text(pack.class_names[train.labels[index]]), f"{distance:.6g}")
        console.print(Text(name, style="italic"), soft_wrap=True)
        console.print(table)


def codes(file: Path, source: Path, *, bits: int, layer: str, epochs: int, seed: int) -> None:
    """Train short binary codes of features, save them with the run, and compare them with exact search."""
    trained, pack = _open(file, source)
    path, facts = make_codes(trained, pack, bits=bits, layer=layer, epochs=epochs, seed=seed)
    title = (
        f"{trained.name}: {facts['queries']:,} queries among {facts['images']:,} training images,"
        f" {layer} ({facts['dimensions']} units)"
    )
    table = Table("search by", title=title, title_justify="left", box=SIMPLE)
    for heading in (*(f"precision at {k}" for k in facts["exact"]["precision"]), "bytes an image"):
        table.add_column(heading, justify="right")
    for name, search in (("Euclidean distance", facts["exact"]), (f"{bits}-bit codes", facts["codes"])):
        shares = (f"{100 * share:.1f} %" for share in search["precision"].values())
        table.add_row(name, *shares, f"{search['bytes_per_image']:,}")
    console = Terminal()
    console.print(table)
    console.print(f"-> {path}")


def _open(file: Path, source: Path) -> tuple[TrainedModel, Pack]:
    """Open a net, and the images of any source, which must have its size."""
    trained = load_trained(file)
    return trained, open_data(DataConfig(name="folder", root=str(source)), trained.config.scale.image_size)
