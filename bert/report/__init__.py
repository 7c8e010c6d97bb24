"""Metrics, manifests and benchmarks of a run, laid out as one page."""
