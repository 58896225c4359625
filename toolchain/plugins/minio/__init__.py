"""The MinIO provider."""
