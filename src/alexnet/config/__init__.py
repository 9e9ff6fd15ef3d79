"""What can be configured: the closed schema of every group, and how a command line becomes a checked `Config`."""
