"""What one process of several holds of a whole: images of a batch, or units of a layer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shard:
    """`count` consecutive ones of `whole`, starting at `first`."""

    first: int
    count: int
    whole: int

    @property
    def within(self) -> slice:
        """The shard's place in the whole."""
        return slice(self.first, self.first + self.count)


def shard_of(whole: int, *, index: int, parts: int) -> Shard:
    """Return one of `parts` shards, whose sizes differ by at most one; two halves are those of `torch.chunk`."""
    first, end = (-(-number * whole // parts) for number in (index, index + 1))
    return Shard(first=first, count=end - first, whole=whole)


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One of `count` copies of a network that train as one, each on a part of every batch; by default the only one."""

    index: int = 0
    count: int = 1

    def part(self, images: int, *, turn: int = 0, turns: int = 1) -> Shard:
        """Return the part of a batch that this replica sees, or what it sees of it in one of several turns.

        May be empty.
        """
        own = shard_of(images, index=self.index, parts=self.count)
        seen = shard_of(own.count, index=turn, parts=turns)
        return Shard(first=own.first + seen.first, count=seen.count, whole=images)
