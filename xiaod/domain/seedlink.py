"""Numbers of SeedLink 3 that a client and a server share."""

PORT = 18000
"""Customary port of SeedLink in the clear."""
TLS_PORT = 18500
"""Customary port of SeedLink over TLS."""
RECORD_BYTES = 512
"""Length of a record that does not state its own."""
SEQUENCE_MODULUS = 1 << 24
"""Sequence numbers have six hexadecimal digits, and wrap."""
HALF_RANGE = SEQUENCE_MODULUS // 2
"""Of two numbers, the one less than this behind is the older."""
