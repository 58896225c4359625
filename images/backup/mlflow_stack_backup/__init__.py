"""What happens inside of the backup container: make a set, check one, put one into a stack."""
