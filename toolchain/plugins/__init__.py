"""Provider plugins made from packages: the vendors' resources, as far as this project uses them, in Python.

Where the vendors' plugins can be had they are used instead; nothing outside this folder knows which kind runs.
"""
