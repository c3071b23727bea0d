"""Rows that fit each family of metrics: how to draw them, and what a perfect model would give."""

from hypothesis import strategies as st

label = st.sampled_from(["refund", "card", "app", "", "ä"]) | st.integers(0, 3)
text = st.lists(st.sampled_from(["a", "the", "Cat", "sat.", "on", "mat", "ß", ""])).map(" ".join)
rank = st.integers(1, 20)
likelihood = st.tuples(st.floats(0, 1e5), st.integers(0, 50))
probability = st.floats(0, 1)

FAMILIES = {
    # module: (a prediction, a reference)
    "classification": (label, label),
    "calibration": (probability, st.integers(0, 1)),
    "text": (text, text | st.lists(text, max_size=3)),
    "speech": (text, text),
    "retrieval": (rank, st.just("")),
    "preference": (st.sampled_from(["chosen", "rejected", "neither"]), st.just("chosen")),
}
SINGLE = {
    "perplexity": (likelihood, st.just("")),
    "zero_shot_accuracy": (label, label),
    "preference_loss": (likelihood, st.just("")),
    "reward_margin": (st.floats(-1e5, 1e5), st.just("chosen")),
}

WORDS = ["one two three four five", "six seven eight nine ten"]
PERFECT = {
    "classification": (["a", "b"], ["a", "b"]),
    "calibration": ([1.0, 0.0], [1, 0]),
    "text": (WORDS, WORDS),
    "speech": (WORDS, WORDS),
    "retrieval": ([1, 1], ["", ""]),
    "preference": (["chosen", "chosen"], ["chosen", "chosen"]),
    "preference_loss": ([(0.0, 1), (0.0, 1)], ["", ""]),
    "reward_margin": ([1e5, 1e5], ["chosen", "chosen"]),
    "perplexity": ([(0.0, 3), (0.0, 4)], ["", ""]),
    "zero_shot_accuracy": (["a", "b"], ["a", "b"]),
}
