"""Words and numbers that a run and a study show alike."""

from alexnet.errors import plural as plural


def shown_time(seconds: float) -> str:
    """Return a duration in the two units that matter: `40 s`, `41 min`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
