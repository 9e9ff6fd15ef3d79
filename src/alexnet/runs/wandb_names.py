"""What every W&B run of this program shares, be it of a training or of a comparison: login, group and tags."""

from collections.abc import Iterable
from hashlib import sha256

from alexnet.errors import UserError

TRAINING = "train"
COMPARISON = "comparison"
"""Job types."""
LONGEST_TAG = 64
"""Characters; W&B refuses a run with a longer tag."""


def check_login(mode: str) -> None:
    """Refuse to start an online run that nobody is logged in for: W&B would stop and ask.

    Raises:
        UserError: online, and no key is known.
    """
    import wandb  # takes a second, which a report without W&B should not wait for

    if mode == "online" and not wandb.api.api_key:
        raise UserError("W&B online: nobody is logged in; run `wandb login`, or choose offline")


def group_name(experiment: str, pairing_key: str) -> str:
    """The W&B group of all runs that may be compared, and of their comparison."""
    return f"{experiment}-{pairing_key[:8]}"


def tags(names: Iterable[str]) -> list[str]:
    """Each name once and in order, as W&B takes it: too long a name ends in a digest of the whole."""
    return [
        name if len(name) <= LONGEST_TAG else f"{name[: LONGEST_TAG - 9]}-{sha256(name.encode()).hexdigest()[:8]}"
        for name in dict.fromkeys(names)
        if name
    ]
