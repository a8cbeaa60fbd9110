"""A generated support inbox for `labelwise demo`: a web shop's and a bank's mail in three languages.

Messages come from a phrase bank (``inbox.toml``): every intent has frames per domain and language,
frames have alternatives and slots, and around them stand greetings, context, a side complaint from
a confusable intent, sign-offs and typing errors. The intent is always the one the writer asks about
now, so labels are true; what makes the task hard is shared vocabulary, never noise in the labels.

Known trade-offs: the pool and the test side share frames, so accuracy says how well the phrase bank
was learnt, not how a real inbox would do; the side complaints make the bag of words ambiguous, as
real mail does, which an encoder without word order pays for.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib import resources
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np

from labelwise.core.errors import DamagedRecord, InputError
from labelwise.core.text import normalised

_BANK: dict[str, Any] = tomllib.loads(
    resources.files("labelwise.project").joinpath("inbox.toml").read_text(encoding="utf-8")
)
_INTENTS: dict[str, Any] = _BANK["intents"]

LABELS: tuple[str, ...] = tuple(_INTENTS)
GUIDELINES: dict[str, str] = {label: intent["guideline"] for label, intent in _INTENTS.items()}

SWITCHED = 0.08  # of messages mix two languages
RESENT = 0.08  # of messages are an earlier one sent again with small edits
SHORT = 0.08  # of messages are a few words
CONTEXT = 0.2  # say first what it is about
ASIDE = 0.1  # mention a confusable intent on the side
PLEA = 0.15  # add what any customer might add
SKEW = 2.4  # how much more common the first phrases of a list are; 1 = equally
SUBJECT = 0.75  # put a few words in front, like a subject line
TEST_EVERY = 6  # one message in six of every intent is for testing
LEAST = 500  # rows, below which the rare intents would vanish

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_NUMBER = re.compile(r"\d{3,}")
_SENTENCE_START = re.compile(r"(^|[.!?]\s+)([^\W\d_])")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})

Rng = np.random.Generator

# slots that keep one value throughout a message
_FACTS = ("product", "merchant", "order", "amount", "name", "my_thing", "my_card", "my_payment")
_K = TypeVar("_K")

# typing errors per character: share of messages: most people type well, a few do not
_CARE = {0.0: 0.50, 0.005: 0.32, 0.015: 0.14, 0.04: 0.04}


@dataclass(frozen=True, slots=True)
class _Message:
    """One row; a message sent again keeps everything but its text."""

    text: str
    intent: str
    domain: str
    lang: str
    split: str = "pool"
    source: str = ""


def inbox(rng: Rng, n: int = 6000) -> list[dict[str, str]]:
    """n messages, no text twice: rows with text, intent, domain, lang, split ("pool"/"test") and source.

    ``lang`` is "en", "de" or "es", or a pair such as "es+en" where the writer mixes two. Rows of one
    ``source`` are a message and its resent copies; they share a split. Class sizes depend on n alone,
    all else on the generator. Raises InputError when n is below 500.
    """
    if n < LEAST:
        raise InputError(f"inbox: n = {n} is too small for the rare intents; use at least {LEAST}.")
    sizes = _sizes(n)
    again = {label: round(RESENT * size) for label, size in sizes.items()}
    plan = [label for label in LABELS for _ in range(sizes[label] - again[label])]
    seen: set[str] = set()
    firsts: dict[str, list[_Message]] = {label: [] for label in LABELS}
    for number, place in enumerate(rng.permutation(len(plan))):
        written = firsts[plan[place]]
        split = "test" if len(written) % TEST_EVERY == TEST_EVERY - 1 else "pool"
        message = _unseen(partial(_compose, rng, plan[place]), seen)
        written.append(replace(message, split=split, source=f"m{number:05d}"))
    messages = [message for label in LABELS for message in firsts[label]]
    for label, count in again.items():
        chosen = rng.integers(len(firsts[label]), size=count)
        messages += [_unseen(partial(_resend, rng, firsts[label][at]), seen) for at in chosen]
    return [asdict(messages[i]) for i in rng.permutation(len(messages))]


def _sizes(n: int) -> dict[str, int]:
    """Class sizes that follow the weights and sum to n; the largest class takes the rounding."""
    total = sum(intent["weight"] for intent in _INTENTS.values())
    sizes = {label: n * intent["weight"] // total for label, intent in _INTENTS.items()}
    sizes[LABELS[0]] += n - sum(sizes.values())
    return sizes


def _unseen(make: Callable[[], _Message], seen: set[str]) -> _Message:
    """The first message of ``make`` whose text nobody has sent yet."""
    while True:
        message = make()
        text = normalised(message.text)
        if text not in seen:
            seen.add(text)
            return replace(message, text=text)


# -- what is said


@dataclass(frozen=True, slots=True)
class _Voice:
    """Who speaks: a customer of one domain, in one language or two, about one order and one amount."""

    domain: str
    lang: str
    partner: str = ""
    facts: dict[str, str] = field(default_factory=dict)

    def foreign(self) -> _Voice:
        """The same customer in the second language alone, if there is one."""
        return replace(self, lang=self.partner, partner="") if self.partner else self


def _compose(rng: Rng, label: str) -> _Message:
    """A new message about one intent, as its writer would type it."""
    domain = "shop" if rng.random() < _INTENTS[label]["shop_share"] else "bank"
    if rng.random() < SWITCHED:
        pair = _weighted(rng, _BANK["shares"]["pairs"])
        lang, partner = pair.split("+")
        text = _mixed(rng, label, _Voice(domain, lang, partner))
        return _Message(_typed(rng, text, lang), label, domain, pair)
    lang = _weighted(rng, _BANK["shares"]["languages"])
    said = _short if rng.random() < SHORT else _plain
    return _Message(_typed(rng, said(rng, label, _Voice(domain, lang)), lang), label, domain, lang)


def _short(rng: Rng, label: str, voice: _Voice) -> str:
    """A few words, such as people type on a phone or into a subject line."""
    text = _say(rng, _pick(rng, _INTENTS[label][voice.lang]["short"]), voice)
    return f"{_say(rng, '{greet}', voice)} {_softened(text)}" if rng.random() < 0.2 else text


def _plain(rng: Rng, label: str, voice: _Voice) -> str:
    """One to five sentences in one language: the concern, and around it what else is on the mind."""
    own = _INTENTS[label]
    body = [_say(rng, _usual(rng, own[voice.lang][voice.domain]), voice)]
    if rng.random() < CONTEXT:
        body.insert(0, _say(rng, "{context}", voice))
    if rng.random() < ASIDE:
        other = _INTENTS[_pick(rng, own["near"])]
        side = _say(rng, _pick(rng, other[voice.lang]["aside"]), voice)
        body.insert(int(rng.random() * (len(body) + 1)), side)
    if rng.random() < PLEA:
        body.append(_say(rng, "{plea}", voice))
    if rng.random() < 0.12:
        body.append(_say(rng, "{ref}", voice))
    text = _enveloped(rng, " ".join(body), voice)
    return f"{_subject(rng, label, voice)} {text}" if rng.random() < SUBJECT else text


def _subject(rng: Rng, label: str, voice: _Voice) -> str:
    """The concern in a few words, as a subject line that ran into the text."""
    words = _say(rng, _usual(rng, _INTENTS[label][voice.lang]["short"]), voice)
    return words if words[-1] in "?!(" else words + _pick(rng, (" -", ".", ":", " //"))


def _mixed(rng: Rng, label: str, voice: _Voice) -> str:
    """A message in two languages: borrowed nouns and tags, and a clause or sentence of the second."""
    main = _say(rng, _usual(rng, _INTENTS[label][voice.lang][voice.domain]), voice)
    if rng.random() < 0.4:
        main = f"{_say(rng, '{tag}', voice.foreign())} {_softened(main)}"
    if rng.random() < 0.5:
        clause = _say(rng, "{context}", voice.foreign()).rstrip(".")
        text = f"{clause}, {_softened(_say(rng, '{and}', voice))} {_softened(main)}"
    else:
        text = f"{main} {_say(rng, '{plea}', voice.foreign())}"
    return _enveloped(rng, text, voice)


def _enveloped(rng: Rng, text: str, voice: _Voice) -> str:
    """Perhaps a greeting, in the second language if there is one, and a sign-off."""
    if rng.random() < 0.3:
        text = f"{_say(rng, '{greet}', voice.foreign())} {_softened(text)}"
    if rng.random() < 0.2:
        text = f"{text} {_say(rng, '{bye}', voice)}"
    return text


def _say(rng: Rng, template: str, voice: _Voice) -> str:
    """The template with every choice made and every slot filled, sentences capitalised."""
    text = template
    while "[" in text or "{" in text:
        text = _CHOICE.sub(lambda found: _usual(rng, found[1].split("|")), text)
        text = _SLOT.sub(lambda found: _filled(rng, found[1], voice), text)
    return _SENTENCE_START.sub(lambda found: found[1] + found[2].upper(), text)


def _filled(rng: Rng, slot: str, voice: _Voice) -> str:
    """A slot's value: a fact of this message, digits, a borrowed word, or the language's own."""
    if slot not in _FACTS:
        return _value(rng, slot, voice)
    key = f"{voice.lang}.{slot}"
    if key not in voice.facts:
        voice.facts[key] = _value(rng, slot, voice)
    return voice.facts[key]


def _value(rng: Rng, slot: str, voice: _Voice) -> str:
    if slot in _NUMBERS:
        return _NUMBERS[slot](rng, voice.lang)
    borrowed = _BANK["mixed"].get(f"{voice.lang}+{voice.partner}", {})
    own = _BANK["slots"][voice.lang]
    for table in (borrowed.get(voice.domain, {}), borrowed, own[voice.domain], own):
        if slot in table:
            return _pick(rng, table[slot])
    raise DamagedRecord(f"inbox.toml: no slot {slot!r} for {voice.domain} in {voice.lang}; reinstall labelwise.")


def _order(rng: Rng, lang: str) -> str:
    number = int(rng.random() * 900_000) + 100_000
    return _pick(rng, (f"#{number}", f"{number}", f"{lang.upper()}-{number}", f"{number // 100}-{number % 100:02d}"))


def _amount(rng: Rng, lang: str) -> str:
    whole, cents = int(np.exp(rng.random() * 5 + 1.2)), _pick(rng, ("00", "50", "90", "95", "99"))
    if lang == "en":
        return f"{_pick(rng, '£€$')}{whole}.{cents}"
    return f"{whole},{cents} {_pick(rng, ('€', 'Euro' if lang == 'de' else 'euros'))}"


_NUMBERS: dict[str, Callable[[Rng, str], str]] = {
    "order": _order,
    "amount": _amount,
    "n": lambda rng, _: str(int(rng.random() * 13) + 2),
    "pin": lambda rng, _: str(int(rng.random() * 9000) + 1000),
}


def _softened(text: str) -> str:
    """The sentence as it continues after a comma."""
    return text if re.match(r"I\b|[A-Z]{2}", text) else text[:1].lower() + text[1:]


# -- how it is typed


def _typed(rng: Rng, text: str, lang: str) -> str:
    """The text as one person types it: habits of the whole message, then slips."""
    if lang != "en" and rng.random() < 0.22:
        text = _unmarked(text.translate(_UMLAUTS) if lang == "de" and rng.random() < 0.5 else text)
    if rng.random() < 0.25:
        text = text.lower()
    elif rng.random() < 0.02:
        text = text.upper()
    if rng.random() < 0.4:
        text = text.replace("¿", "").replace("¡", "")
    if rng.random() < 0.25:
        text = text.rstrip(".")
    if rng.random() < 0.1:
        text += _pick(rng, ("!!", "...", "!!!", " :(", " 🙏"))
    rate = _weighted(rng, _CARE)
    return _slips(rng, text, lang, int(rng.poisson(rate * len(text))))


def _unmarked(text: str) -> str:
    """Without accents and umlauts, as on a keyboard that lacks them."""
    bare = unicodedata.normalize("NFD", text.replace("ß", "ss"))
    return unicodedata.normalize("NFC", "".join(char for char in bare if not unicodedata.combining(char)))


def _slips(rng: Rng, text: str, lang: str, count: int) -> str:
    """The text with ``count`` keystrokes gone wrong; a slip that lands on no letter does nothing."""
    for _ in range(count):
        at = int(rng.random() * (len(text) - 1))
        char, kind = text[at], rng.random()
        if not char.isalpha():
            continue
        if kind < 0.3:
            text = text[:at] + _neighbour(rng, char, lang) + text[at + 1 :]
        elif kind < 0.55:
            text = text[:at] + text[at + 1 :]
        elif kind < 0.75:
            text = text[: at + 1] + text[at:]
        else:
            text = text[:at] + text[at + 1] + char + text[at + 2 :]
    return text


def _neighbour(rng: Rng, char: str, lang: str) -> str:
    """A letter beside this one on the language's keyboard, or the letter itself if it has no key."""
    for row in _BANK["keyboards"][lang]:
        at = row.find(char.lower())
        if at >= 0:
            near = row[max(at - 1, 0) : at] + row[at + 1 : at + 2]
            return _pick(rng, near.upper() if char.isupper() else near)
    return char


# -- sent again


def _resend(rng: Rng, first: _Message) -> _Message:
    """The message with one or two small edits: a new greeting, another order number, a slip."""
    text, lang = first.text, first.lang[:2]
    kind = rng.random()
    if kind < 0.35:
        text = f"{_say(rng, '{again}', _Voice(first.domain, lang))} {_softened(text)}"
    elif kind < 0.6:
        text = _NUMBER.sub(lambda found: "".join(_pick(rng, "123456789") for _ in found[0]), text, count=1)
    elif kind < 0.75:
        text = text + _pick(rng, ("!", "?", " !!", " ??", "."))
    return replace(first, text=_slips(rng, text, lang, 1 + int(rng.random() * 2)))


# -- drawing


def _pick(rng: Rng, values: Sequence[str]) -> str:
    return values[int(rng.random() * len(values))]


def _usual(rng: Rng, phrases: Sequence[str]) -> str:
    """A phrase, the first ones more often: language has common wordings and a long tail (Zipf 1949)."""
    return phrases[int(rng.random() ** SKEW * len(phrases))]


def _weighted(rng: Rng, shares: Mapping[_K, float]) -> _K:
    """A key, with probability proportional to its share."""
    bounds = list(accumulate(shares.values()))
    return list(shares)[bisect(bounds, rng.random() * bounds[-1], hi=len(bounds) - 1)]
