"""Which templates fit the text of a task: Okapi BM25 over what templates say about themselves.

Words only, no meaning: good on the obvious, silent where no word is shared.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log

from archon_workflows.model.review.layout import Layout
from archon_workflows.model.steps import ActionStep, WorkflowLinkStep
from archon_workflows.model.template import Template

_SATURATION = 1.2
_LENGTH_WEIGHT = 0.75
_WORDS_SHOWN = 5
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at be by can do does for from has have how i in into is it its me must my need of on
        or our please should so some that the then there these this to up us use want we will with you your
        """,
    )
)
_ENDINGS = re.compile(r"(?<=\w{3})(?:ments?|ings?|ations?|ions?|ies|ers?|ed|es|s|e|y)$")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A template that shares words with the task: its score (above 0) and why it was named."""

    name: str
    score: float
    why: str


def rank(task_text: str, candidates: Sequence[Template]) -> list[Suggestion]:
    """Return the candidates that fit the text, the best first; of equal ones by name."""
    words = {_stem(word): word for word in _words(task_text)}
    counts = {template.name: _weighted_stems(template) for template in candidates}
    if not words or not counts:
        return []
    average = sum(stems.total() for stems in counts.values()) / len(counts)
    rarity = {stem: _rarity(stem, list(counts.values())) for stem in words}
    ranked = (_suggestion(name, stems, words, rarity, average) for name, stems in counts.items())
    return sorted((one for one in ranked if one.score > 0), key=lambda one: (-one.score, one.name))


def _suggestion(
    name: str, stems: Counter[str], words: dict[str, str], rarity: dict[str, float], average: float
) -> Suggestion:
    length = 1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * stems.total() / average
    scores = {
        stem: rarity[stem] * stems[stem] * (_SATURATION + 1) / (stems[stem] + _SATURATION * length)
        for stem in words
        if stems[stem]
    }
    best = sorted(scores, key=lambda stem: -scores[stem])[:_WORDS_SHOWN]
    why = "shares " + ", ".join(repr(words[stem]) for stem in best)
    return Suggestion(name, round(sum(scores.values()), 4), why)


def _rarity(stem: str, counts: list[Counter[str]]) -> float:
    holders = sum(1 for stems in counts if stems[stem])
    return log(1 + (len(counts) - holders + 0.5) / (holders + 0.5))


def _weighted_stems(template: Template) -> Counter[str]:
    stems: Counter[str] = Counter()
    for weight, text in _texts(template):
        for word in _words(text):
            stems[_stem(word)] += weight
    return stems


def _texts(template: Template) -> Iterator[tuple[int, str]]:
    yield 4, template.name
    yield 3, template.title
    yield 3, " ".join(template.tags)
    yield 2, template.category or ""
    yield 1, template.description or ""
    yield 1, " ".join(template.parameters)
    for place in Layout(template).steps:
        yield 1, f"{place.name or ''} {place.step.title or ''}"
        if isinstance(place.step, ActionStep):
            yield 1, place.step.tool_name
        elif isinstance(place.step, WorkflowLinkStep):
            yield 1, place.step.workflow_name


def _words(text: str) -> Iterator[str]:
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    for word in re.findall(r"[^\W_]+", spread.lower()):
        if word not in _STOP_WORDS and len(word) > 1:
            yield word


def _stem(word: str) -> str:
    """Cut one common English ending, so that ``deploying``, ``deployment`` and ``deploys`` are one word."""
    return _ENDINGS.sub("", word)
