"""Optimizers and learning-rate schedules in plain PyTorch."""
