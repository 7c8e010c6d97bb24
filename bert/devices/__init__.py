"""Devices, precision and execution: the one door to what computes."""
