"""Fine-tuning tasks: features, decoding and official metrics, in numpy."""
