"""What all networks of this project have in common, whatever their size and form."""

RATE_HZ = 100.0
"""Sampling rate of the input."""
COMPONENTS = "ZNE"
"""Rows of the input."""
PHASES = ("P", "S")
"""What is picked, in this order wherever an array has a row for each."""
