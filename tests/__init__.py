"""Tests of the project: `unit` (no Docker), `toolchain` (the parts built from packages), `stack` (the real thing)."""
