"""The program that does nothing."""

__import__("pulumi")
