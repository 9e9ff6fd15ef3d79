"""What every W&B run of this program shares, be it of a training or of a comparison: server, group and tags."""

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import replace
from hashlib import sha256
from netrc import NetrcParseError, netrc
from typing import Any
from urllib.parse import urlsplit

from alexnet.config.values import WandbConfig
from alexnet.errors import UserError, did_you_mean

TRAINING = "train"
COMPARISON = "comparison"
"""Job types."""
LONGEST_TAG = 64
"""Characters; W&B refuses a run with a longer tag."""


ENVIRONMENT_MODES = {"online": "online", "offline": "offline", "disabled": "disabled"} | {
    "run": "online",
    "shared": "online",
    "dryrun": "offline",
}
"""What W&B takes in `WANDB_MODE`, and what it means here."""
PROJECT = "alexnet-ablations"
ANSWER_SECONDS = 5.0
"""Time that a server has for its first answer."""


def destination(config: WandbConfig) -> WandbConfig:
    """Return the settings with W&B's environment variables in place of what is None; offline if they are silent too.

    Raises:
        UserError: `WANDB_MODE` is none of W&B's modes.
    """
    mode = config.mode
    if mode is None and os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes"):
        mode = "disabled"
    if mode is None:
        given = os.environ.get("WANDB_MODE", "").lower() or "offline"
        if given not in ENVIRONMENT_MODES:
            raise UserError(f"WANDB_MODE={given}: there is no such mode{did_you_mean(given, [*ENVIRONMENT_MODES])}")
        mode = ENVIRONMENT_MODES[given]
    return replace(
        config,
        mode=mode,
        project=config.project or os.environ.get("WANDB_PROJECT") or PROJECT,
        entity=config.entity or os.environ.get("WANDB_ENTITY") or None,
    )


def client() -> Any:
    """Import W&B, silenced; it takes a second, which a report without W&B should not wait for.

    Its reports about itself are off unless asked for: without a network they keep a process from ending for 10 s.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    return wandb


def api_key(server: str) -> str | None:
    """Find the key of W&B's settings, or the one that `wandb login` has left in the netrc file.

    Not by `wandb.login`, which asks the server and waits for it.
    """
    if key := client().setup().settings.api_key:
        return str(key)
    try:
        entry = netrc(os.environ.get("NETRC")).authenticators(urlsplit(server).netloc)
    except (OSError, NetrcParseError):
        return None
    return entry[2] if entry else None


def why_not_online() -> str | None:
    """Ask the server who is logged in: say in a few words why an online run would not work; None if it would.

    W&B itself would go on trying for minutes.
    """
    server = str(client().setup().settings.base_url).rstrip("/")
    if not (key := api_key(server)):
        return "nobody is logged in, `wandb login` does it"
    if not server.startswith(("http://", "https://")):
        return f"{server} is no address of a server"
    request = urllib.request.Request(
        f"{server}/graphql",
        json.dumps({"query": "query Viewer { viewer { id entity } }"}).encode(),
        {
            "Authorization": f"Basic {base64.b64encode(f'api:{key}'.encode()).decode()}",
            "Content-Type": "application/json",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            viewer = json.load(answer)["data"]["viewer"]
    except urllib.error.HTTPError as error:
        wrong_key = error.code in (401, 403)
        return f"{server} does not accept the key" if wrong_key else f"{server} answers with error {error.code}"
    except (OSError, ValueError, TypeError, LookupError) as error:
        reason = getattr(error, "reason", error)
        return f"{server} does not answer ({reason})"
    return None if viewer else f"{server} does not accept the key"


def check_login(mode: str) -> None:
    """Refuse to start an online run that nobody is logged in for: W&B would stop and ask.

    Raises:
        UserError: online, and no key is known.
    """
    if mode == "online" and not api_key(str(client().setup().settings.base_url)):
        raise UserError("W&B online: nobody is logged in; run `wandb login`")


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
