"""Picks to events: which picks of several stations, or of one, are those of one earthquake; pure."""
