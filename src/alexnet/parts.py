"""What one process of several holds of a whole: images of a batch, or units of a layer."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Shard:
    """`count` consecutive ones of `whole`, from `first` on."""

    first: int
    count: int
    whole: int

    @property
    def within(self) -> slice:
        """Where the part lies in the whole."""
        return slice(self.first, self.first + self.count)


def shard_of(whole: int, *, index: int, parts: int) -> Shard:
    """One of `parts` parts that differ by one at most; the two halves are those of `torch.chunk`."""
    first, end = (-(-number * whole // parts) for number in (index, index + 1))
    return Shard(first=first, count=end - first, whole=whole)


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One of several copies of a network that are trained as one: each sees its part of every batch."""

    index: int = 0
    of: int = 1

    def part(self, images: int) -> Shard:
        """The part of a batch of so many images that this copy sees; may be empty."""
        return shard_of(images, index=self.index, parts=self.of)


SINGLE_REPLICA = Replica()
"""A network that is trained alone."""
