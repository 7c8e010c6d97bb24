"""Stage `fetch`: raw files, local or downloaded, checked; the one room that knows the network."""
