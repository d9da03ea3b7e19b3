"""One run, wired: records in, windows, probabilities, picks, sinks out; live and offline."""
