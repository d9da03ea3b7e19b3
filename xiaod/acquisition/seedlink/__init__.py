"""A SeedLink server as a source: connection, list of streams, positions, and the source itself."""
