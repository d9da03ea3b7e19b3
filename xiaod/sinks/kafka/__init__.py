"""The sink for Apache Kafka."""
