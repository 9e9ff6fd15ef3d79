"""The nearest valid name for a mistyped one."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint to append to an error message: the closest known name, or all of them where none is close.

    Of names in folders, such as `source/relu_position`, the folder stands for all, as `source/*`.
    """
    names = sorted(set(known))
    close = get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f": did you mean {close[0]}?"
    shown = dict.fromkeys(f"{folder}/*" if folder else name for name in names for folder in [name.rpartition("/")[0]])
    return f"; choose from: {', '.join(shown)}" if shown else ""
