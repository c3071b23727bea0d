"""The run folder and the only writer of files in it."""
