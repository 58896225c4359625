"""Programs that are measured beside the stack, each copied into a project of its own."""
