"""`make bench`: this stack and the compose arrangement it replaces, measured in one run on the same images."""
