"""The commands behind make: one module each."""
