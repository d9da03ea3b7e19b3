"""The sink for ringserver, over DataLink."""
