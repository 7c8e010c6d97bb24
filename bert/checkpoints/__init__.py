"""Checkpoints: their format, how they are written beside the training, which are kept."""
