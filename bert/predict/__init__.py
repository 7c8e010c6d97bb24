"""Use of a fine-tuned model: requests to answers, in files, on a terminal, on a page."""
