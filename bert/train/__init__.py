"""Devices, ranks, checkpoints and the loops."""
