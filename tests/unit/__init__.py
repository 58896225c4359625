"""The program under Pulumi's mocks: no Docker, seconds."""
