"""Language hosts and plugins as forks of one process that has imported everything; see `server`."""
