"""What flows from room to room: records, windows, picks, and the rules they share. Pure: no clock, no files, no network."""
