"""What training will see: samples as text, rules that shards keep, two sets compared."""
