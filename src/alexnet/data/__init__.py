"""Images on disk, packed once, to batches on the device."""
