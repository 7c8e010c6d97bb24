"""Checkpoints to and from the layouts of other systems."""
