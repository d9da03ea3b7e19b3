"""Sinks that write files: lines appended to one file, or documents in a folder; and all formats by name."""
