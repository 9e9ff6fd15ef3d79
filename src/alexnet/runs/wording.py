"""Words and numbers that a run and a study show alike."""


def shown_time(seconds: float) -> str:
    """Return a duration in the two units that matter: `40 s`, `41 min`, `2 h 10 min`."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def plural(count: int, singular: str, several: str | None = None) -> str:
    """Format a count: `1 run`, `2 runs`; `several` is an irregular plural."""
    return f"{count:,} {singular if count == 1 else several or f'{singular}s'}"
