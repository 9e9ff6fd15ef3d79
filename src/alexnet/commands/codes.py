"""`alexnet codes`: trains short binary codes of features (section 6.1), and compares them with exact search."""

from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from alexnet.commands.similar import open_net_and_images
from alexnet.terminal import Terminal
from alexnet.trained.similar import make_codes


def run(file: Path, source: Path, *, bits: int, layer: str, epochs: int, seed: int) -> None:
    """Train codes, save them with the run, and compare them with exact search."""
    trained, pack = open_net_and_images(file, source)
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
