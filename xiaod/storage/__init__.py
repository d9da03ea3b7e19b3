"""What outlives the process: picks, progress, locks, and the handover between shards. The owner of SQLite."""
