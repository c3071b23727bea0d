"""Stub."""


def suspect_labels(work, options, *, seed):
    pass
