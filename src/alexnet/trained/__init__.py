"""Trained networks: loading them from files, and everything that can be asked of them."""
