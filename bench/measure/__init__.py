"""A module a measurement; each gives its figures."""
