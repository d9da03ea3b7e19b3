"""The command line: one file a command, and what is generated from them."""
