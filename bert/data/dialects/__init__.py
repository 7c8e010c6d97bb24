"""Instance files of other systems: told apart by their fields, read for training, and written."""
