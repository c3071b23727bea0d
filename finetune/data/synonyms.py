"""What other people call our canonical columns."""

from __future__ import annotations

from collections.abc import Mapping

from finetune.data import conversations
from finetune.data.kinds import Audio, Image, Kind

SYNONYMS: dict[str, tuple[str, ...]] = {
    "text": (
        "sentence",
        "content",
        "body",
        "message",
        "review",
        "review_text",
        "utterance",
        "query",
        "tweet",
        "comment",
        "document",
        "input",
        "sms",
        "sentence1",
        "text1",
        "premise",
    ),
    "label": (
        "labels",
        "category",
        "intent",
        "class",
        "target",
        "label_text",
        "label_name",
        "sentiment",
        "topic",
        "queue",
        "tag",
        "y",
    ),
    "source": ("input", "inputs", "article", "document", "dialogue", "text", "src", "question"),
    "target": (
        "output",
        "outputs",
        "highlights",
        "summary",
        "abstract",
        "tgt",
        "targets",
        "answer",
        "label",
    ),
    "labels": ("intents", "categories", "topics", "classes", "emotions"),
    "score": ("similarity_score", "similarity", "rating", "stars", "value", "label"),
    "text_pair": ("sentence2", "text2", "text_b", "hypothesis", "second"),
    "tokens": ("words",),
    "tags": ("ner_tags", "ner", "pos_tags", "labels"),
    "context": ("passage", "paragraph"),
    "answers": ("answer",),
    "chosen": ("preferred", "chosen_response", "response_chosen", "winner", "better"),
    "rejected": ("dispreferred", "rejected_response", "response_rejected", "loser", "worse"),
    "prompt": conversations.PROMPTS,
    "completion": conversations.COMPLETIONS,
    "image": ("img", "picture", "photo", "file_name", "file", "image_path", "path"),
    "audio": ("file_name", "file", "path", "audio_filepath", "audio_path", "wav", "recording"),
}
"""What other people call our columns, most telling first."""

BESIDE_IMAGE = ("caption", "captions", "alt", "alt_text", "title", "description", "sentence")
BESIDE_AUDIO = ("transcription", "transcript", "sentence", "normalized_text", "raw_text")


def synonyms(canonical: str, kinds: Mapping[str, Kind]) -> tuple[str, ...]:
    """Return other names of a column, most telling first, beside the task's other columns."""
    own = SYNONYMS.get(canonical, ())
    if canonical != "text":
        return own
    if any(isinstance(kind, Audio) for kind in kinds.values()):
        return (*BESIDE_AUDIO, *own)
    if any(isinstance(kind, Image) for kind in kinds.values()):
        return (*BESIDE_IMAGE, *own)
    return own
