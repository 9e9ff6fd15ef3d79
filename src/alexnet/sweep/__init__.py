"""Sweeps: many runs by one command, of which only those are launched that are not finished yet."""
