"""Reports: what a run achieved, how sure that is and where it fails, from the run folder alone."""
