"""Measurements; not run by the test suite."""
