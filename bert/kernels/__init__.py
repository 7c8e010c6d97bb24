"""Native CPU kernels of the training step, compiled at first use, and how they are called."""
