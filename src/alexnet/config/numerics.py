"""Which numbers this code computes, as a counter that the identity of every run holds.

A change by which the same configuration computes other numbers, if only by rounding, adds a line here. The golden
traces in `tests/golden` fail until that is done, and then ask to be recorded again.
"""

HISTORY = {
    0: "results from before this was counted",
    1: "other orders of floating-point sums than most runs of 0, in normalization, convolutions and updates",
    2: "masks, weights and augmentation drawn by counter, the same on every device; updates by torch's own SGD",
}
NUMERICS = max(HISTORY)
"""Runs of different numbers are never paired, and a run is not resumed by code of another."""
