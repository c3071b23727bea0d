"""Conversations to tokens, with a mask of what the assistant said, its end token included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from finetune.errors import DataError

DEFAULT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}{{ eos_token }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] }}{{ '\n' }}{% endif %}"
    "{% endfor %}"
)
"""For tokenizers without a chat template: prompt, line break, answer, end token."""

PRIVATE = range(0xE000, 0xF900)
"""Code points that Unicode gives no meaning; texts hold none of them, or not all."""

LossOn = Literal["assistant", "last_turn", "all"]
Messages = Sequence[Mapping[str, str]]


def prepare_tokenizer(tokenizer: Any) -> None:
    """Give a tokenizer that has no chat template the default one, which is exported with it."""
    if not tokenizer.chat_template:
        tokenizer.chat_template = DEFAULT_TEMPLATE


def render(tokenizer: Any, messages: Messages, *, prompt: bool = False) -> str:
    """Return a conversation as text, opened for the assistant's answer when it is a prompt."""
    try:
        text: str = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=prompt
        )
    except Exception as error:  # a template is Jinja from the model folder and may raise anything
        raise DataError(
            f"The chat template refuses a conversation: {' '.join(str(error).split())[:200]}",
            fix="Bring the roles into the order that the base model was trained with.",
        ) from error
    return text


def encode(tokenizer: Any, messages: Messages, loss_on: LossOn) -> tuple[list[int], list[int]]:
    """Return token ids and labels, -100 where no loss is taken.

    The rendered text is tokenized once; a token carries loss when it has a part in a turn of the
    assistant's, as one does that joins the blank before an answer to its first word. This holds for
    any template whose rendering of the first turns is how the whole begins, so it needs no
    `{% generation %}` marks; where that fails, the last turn alone is found.

    Raises:
        DataError: The template renders the last turn so that it cannot be found.
    """
    messages, stands_for = without_controls(tokenizer, messages)
    text = render(tokenizer, messages)
    ids, places = tokenize(tokenizer, text, stands_for)
    spans = spoken(tokenizer, messages, text, loss_on)
    labels = [
        token if any(begin < until and end > since for since, until in spans) else -100
        for token, (begin, end) in zip(ids, places, strict=True)
    ]
    end = tokenizer.eos_token_id
    if messages and messages[-1]["role"] == "assistant" and end is not None:
        everything = loss_on == "all"
        answer = text.rfind(messages[-1]["content"].strip()) if everything else spans[-1][0]
        if not any(t == end and b >= answer for t, (b, _) in zip(ids, places, strict=True)):
            labelled = [number for number, label in enumerate(labels) if label != -100]
            last = labelled[-1] if labelled else len(ids) - 1
            ids, labels = [*ids[: last + 1], end], [*labels[: last + 1], end]
    return ids, labels


def encode_prompt(tokenizer: Any, messages: Messages) -> list[int]:
    """Return the token ids of a conversation that is opened for the assistant's answer."""
    messages, stands_for = without_controls(tokenizer, messages)
    return tokenize(tokenizer, render(tokenizer, messages, prompt=True), stands_for)[0]


def without_controls(
    tokenizer: Any, messages: Messages
) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Replace special tokens that somebody typed into a message by characters of private use.

    A template's own tokens control the conversation; the same characters typed by a user are text,
    and must not end the turn or open one in another's name. Each is replaced by as many characters
    as it has, so that places in the text stay what they are.

    Returns:
        The messages, and which text each run of characters stands for.
    """
    typed = "\n".join(message["content"] for message in messages)
    found = [token for token in controls(tokenizer) if token in typed]
    free = (chr(code) for code in PRIVATE if chr(code) not in typed)
    stands_for = {
        next(free) * len(token): token for token in sorted(found, key=lambda t: (-len(t), t))
    }
    rewritten = []
    for message in messages:
        content = message["content"]
        for run, token in stands_for.items():
            content = content.replace(token, run)
        rewritten.append({**message, "content": content})
    return rewritten, stands_for


def controls(tokenizer: Any) -> dict[str, int]:
    """Return the special tokens of a tokenizer, those without a role of their own included."""
    added = tokenizer.added_tokens_decoder.items()
    return {
        **dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True)),
        **{str(token): int(number) for number, token in added if token.special},
    }


def tokenize(
    tokenizer: Any, text: str, stands_for: Mapping[str, str]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Return the token ids of a rendered text and from where to where each goes.

    Args:
        tokenizer: A fast one: slow ones know no places.
        text: Of `render`.
        stands_for: What `without_controls` replaced; tokenized as the text that it is.
    """
    marks = {run[0] for run in stands_for}
    typed = {place for place, character in enumerate(text) if character in marks}
    for run, token in stands_for.items():
        text = text.replace(run, token)
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])
    if not typed:
        return ids, offsets
    forbidden = set(controls(tokenizer).values())
    for number in reversed(range(len(ids))):
        begin, end = offsets[number]
        if ids[number] in forbidden and not typed.isdisjoint(range(begin, end)):
            plain = as_text(tokenizer, text[begin:end], forbidden)
            ids[number : number + 1] = plain
            offsets[number : number + 1] = [(begin, end)] * len(plain)
    return ids, offsets


def as_text(tokenizer: Any, text: str, forbidden: set[int]) -> list[int]:
    """Return the token ids of a special token's text, that token not among them."""

    def split(part: str) -> list[int]:
        options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        return list(tokenizer(part, **options)["input_ids"])

    ids = split(text)
    if forbidden.isdisjoint(ids):
        return ids
    # some vocabularies hold the whole text as an ordinary piece too: then letter by letter
    return [token for letter in text for token in split(letter) if token not in forbidden]


def first_label(labels: Sequence[int]) -> int:
    """Return the place of the first token that carries loss, or the length."""
    return next((place for place, label in enumerate(labels) if label != -100), len(labels))


def spoken(tokenizer: Any, messages: Messages, text: str, loss_on: LossOn) -> list[tuple[int, int]]:
    """Return the character ranges of the text that carry loss."""
    if loss_on == "all":
        return [(0, len(text))]
    turns = [place for place, message in enumerate(messages) if message["role"] == "assistant"]
    if loss_on == "last_turn":
        turns = turns[-1:]
    spans = []
    for place in turns:
        head = attempt(tokenizer, messages[:place], prompt=True)
        whole = attempt(tokenizer, messages[: place + 1])
        if whole is None or not text.startswith(whole):
            if place != turns[-1]:
                continue  # templates that rewrite the past, such as dropped reasoning
            whole = text
        if head is not None and whole.startswith(head):
            start = len(head)
        else:
            start = whole.rfind(messages[place]["content"].strip())
        if start < 0:
            raise DataError(
                "The chat template renders an answer so that it cannot be found in the text.",
                fix="Use a base model whose template keeps the answers, or task.loss_on=all.",
            )
        spans.append((start, answer_end(tokenizer, whole, start)))
    return spans


def attempt(tokenizer: Any, messages: Messages, *, prompt: bool = False) -> str | None:
    """Return the opening of a conversation as text; None where the template refuses it alone."""
    try:
        return render(tokenizer, messages, prompt=prompt)
    except DataError:
        return None


def answer_end(tokenizer: Any, text: str, start: int) -> int:
    """Return where a turn's end token ends, or the text, trailing blanks left out."""
    mark = tokenizer.eos_token
    found = text.rfind(mark, start) if mark else -1
    return found + len(mark) if found >= 0 else start + len(text[start:].rstrip())
