"""A process that dies at a moment of the test."""


class StopError(Exception):
    """Stands for any failure in the middle of writing."""
