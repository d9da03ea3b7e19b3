"""Probabilities become picks: peaks, thresholds, measurements, duplicates, and why there is no pick. No clock, no input or output."""
