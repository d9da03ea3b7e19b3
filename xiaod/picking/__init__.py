"""Probabilities become picks: peaks, thresholds, measurements, duplicates, and why there was none. Pure."""
