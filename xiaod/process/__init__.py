"""The operating system as the daemon meets it: logs, exit status, systemd, secrets, the disk, metrics."""
