"""The closed world of the demo recipe, written in the real raw formats."""
