"""Processes that train together: who they are, what they agree on, how gradients meet."""
