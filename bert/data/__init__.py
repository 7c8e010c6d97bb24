"""Text parts to instances to shuffled shards to unpadded micro-batches."""
