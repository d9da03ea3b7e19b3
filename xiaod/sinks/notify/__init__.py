"""The sink for people's phones."""
