"""Tools beside the daemon: archives, benchmarks, plots, self-test, soak, first configuration."""
