"""The PostgreSQL provider."""
