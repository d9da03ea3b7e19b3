"""Days of data at high speed, with everything that goes wrong in months: ``xiaod soak``."""
