"""The stages of a run; each reads the run folder and writes the run folder."""
