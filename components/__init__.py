"""The component resources of the MLflow stack, one part a module.

`components.stack` joins them; `components.settings` describes every key a user can set.
"""
