"""Test-time views, metrics, and collected predictions of a network in memory."""
