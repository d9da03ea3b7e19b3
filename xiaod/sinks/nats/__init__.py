"""The sink for NATS JetStream."""
