"""BERT pretraining from raw text to scores; see docs/design.md for the rooms."""
