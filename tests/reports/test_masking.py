"""Secrets are hidden by key in settings and by their look everywhere."""

from __future__ import annotations

import pytest

from finetune.reports.masking import MASK, mask, mask_argument, mask_credentials, mask_personal


@pytest.mark.parametrize(
    "key",
    ["token", "hf_token", "HF_TOKEN", "accessToken", "client_secret", "password", "db-password",
     "passwd", "api_key", "apikey", "API-KEY", "private_key", "credentials"],
)  # fmt: skip
def test_a_secret_is_hidden_by_its_key(key):
    assert mask({"a": {key: "plainlooking"}}, by_key=True) == {"a": {key: MASK}}


@pytest.mark.parametrize(
    ("key", "value"),
    [("tokenizer", "x"), ("tokens", "words"), ("pad_token", "[PAD]"), ("max_token", 512),
     ("token", None), ("num_tokens", 3), ("keys", "k")],
)  # fmt: skip
def test_vocabulary_is_no_secret(key, value):
    assert mask({key: value}, by_key=True) == {key: value}


def test_a_class_called_like_a_secret_keeps_its_figures():
    assert mask({"reset_password": {"f1": 0.5}}, by_key=False) == {"reset_password": {"f1": 0.5}}


@pytest.mark.parametrize(
    "secret",
    ["hf_CANARYabcdef123", "sk-abcdefghijklmnop1234", "ghp_abcdefghijklmnop1234",
     "AKIAABCDEFGHIJKLMNOP", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc", "anna:hunter2"],
)  # fmt: skip
def test_a_credential_is_hidden_by_its_look(secret):
    text = f"see https://{secret}@example.org/x" if ":" in secret else f"use {secret} now"
    assert secret not in mask_credentials(text)
    assert secret not in str(mask([{"note": text, text: 1}], by_key=False))


def test_a_package_name_is_no_credential():
    assert mask_credentials("hf_transfer and hf_hub") == "hf_transfer and hf_hub"


def test_an_override_on_the_command_line_is_hidden():
    assert mask_argument("tracking.token=abc") == f"tracking.token={MASK}"
    assert mask_argument("train.max_steps=20") == "train.max_steps=20"


def test_row_text_loses_addresses_and_telephone_numbers():
    text = mask_personal("write to anna.b@example.org or call +49 (30) 1234-5678, order 12345")
    assert text == f"write to {MASK} or call {MASK}, order 12345"
