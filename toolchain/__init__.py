"""What a machine lacks, and the commands behind make."""
