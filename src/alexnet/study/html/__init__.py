"""The comparison as one HTML page that opens from disk, for a reader who wants to check."""
