"""Near-duplicates of text, pictures and sound, and where they leak across splits."""
