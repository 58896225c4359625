"""What is in the images that a stack runs: written down as SBOMs, and looked up for known flaws."""
