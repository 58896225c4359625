"""Backup and restore: what the host does. What the container does is in `images/backup`."""
