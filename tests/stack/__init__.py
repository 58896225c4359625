"""The real engine deploys the real stack on the real Docker, and real clients use it."""
