"""Records become samples on the 100 Hz grid: order, duplicates, gaps, resampling. Pure: no clock, no files, no network."""
