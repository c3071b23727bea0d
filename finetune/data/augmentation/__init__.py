"""Training rows made different at each visit, and rows that a model makes up."""
