"""What the mask hides: a secret in every dress that it comes in, and nothing else."""

import base64
import json
import re
from time import process_time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archon_workflows.engine.mask import MASK, Mask

SECRET = 'pa"ss/wörd\n+&=\\7'  # noqa: S105 - made up for this test

DRESSES = {
    "plain": SECRET,
    "JSON": json.dumps(SECRET),
    "JSON with its own letters": json.dumps(SECRET, ensure_ascii=False),
    "JSON in JSON": json.dumps(json.dumps({"token": SECRET})),
    "JSON with escaped slashes": json.dumps(SECRET).replace("/", "\\/"),
    "Python": repr(SECRET),
    "URL": quote(SECRET, safe=""),
    "URL with slashes": quote(SECRET),
    "form": quote_plus(SECRET),
    "URL in small letters": re.sub("%..", lambda one: one.group().lower(), quote(SECRET, safe="")),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "URL-safe base64": base64.urlsafe_b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_a_secret_is_hidden_in_every_dress(dress: str) -> None:
    masked = Mask([SECRET]).text(f"before {DRESSES[dress]} after")
    assert "wörd" not in masked
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@given(before=st.binary(max_size=9), after=st.binary(max_size=9), secret=st.text(min_size=4, max_size=40))
def test_in_base64_a_secret_is_hidden_wherever_it_stands(before: bytes, after: bytes, secret: str) -> None:
    try:
        content = before + secret.encode() + after
    except UnicodeEncodeError:
        return
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        masked = Mask([secret]).text(encode(content).decode())
        assert MASK in masked
        longest = max(masked.split(MASK), key=len)
        assert len(longest) <= (max(len(before), len(after)) + 2) * 4 / 3 + 1


@given(text=st.text(max_size=200), secret=st.text(min_size=4, max_size=12))
def test_no_text_shows_the_secret_after_the_mask(text: str, secret: str) -> None:
    try:
        secret.encode()
    except UnicodeEncodeError:
        return
    masked = Mask([secret]).text(text + secret + text)
    assert secret not in masked or secret in MASK * 2 or set(secret) <= {"*"}


def test_what_a_cut_message_left_of_a_secret_is_hidden() -> None:
    mask = Mask(["correct-horse-battery"])
    assert mask.text('"correct-hor..." is too long') == f'"{MASK}..." is too long'
    assert mask.text("it was corr") == f"it was {MASK}"
    assert mask.text("correct and horse...") == "correct and horse..."
    assert mask.text("correct-h\N{HORIZONTAL ELLIPSIS} and correct-horse-battery") == (
        f"{MASK}\N{HORIZONTAL ELLIPSIS} and {MASK}"
    )


def test_of_two_secrets_the_longer_is_hidden_whole() -> None:
    assert Mask(["abcd", "abcdef"]).text("abcdef abcd") == f"{MASK} {MASK}"


def test_keys_and_nested_values_are_masked_and_the_rest_is_untouched() -> None:
    value = {"hidden-key": ["a hidden-key", 1, None, {"x": True}], "other": 1.5}
    assert Mask(["hidden-key"]).value(value) == {MASK: [f"a {MASK}", 1, None, {"x": True}], "other": 1.5}


def test_without_secrets_nothing_changes() -> None:
    assert Mask([]).text("anything...") == "anything..."


@pytest.mark.parametrize("text", ["secr" * 250_000, "secret-" * 140_000, "..." * 330_000, "c2Vj" * 250_000])
def test_a_hostile_text_costs_no_time(text: str) -> None:
    mask = Mask([f"secret-number-{number}" for number in range(20)])
    began = process_time()
    mask.text(text)
    assert process_time() - began < 2
