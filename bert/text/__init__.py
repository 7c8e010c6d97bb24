"""Raw files to documents to text parts; knows nothing of tokens."""
