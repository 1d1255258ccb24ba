"""A sentence in two languages, and how the log knows that it is ours."""

from __future__ import annotations

from dataclasses import dataclass


class Sentence(str):
    """Words of our own. `logs.redact` leaves them whole; whatever is made of one by joining or formatting is an ordinary `str`.

    An errmsg, a header or a body never becomes one: text from outside is a field of its own.
    """

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A sentence for people, in English and in Chinese: what is wrong, or what to do. Both are `Sentence`s."""

    en: str
    zh: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "en", Sentence(self.en))
        object.__setattr__(self, "zh", Sentence(self.zh))

    def __str__(self) -> str:
        return self.en

    def __add__(self, more: Text) -> Text:
        """Return both sentences as one text, in each language."""
        return Text(f"{self.en} {more.en}".strip(), f"{self.zh}{more.zh}")

    def in_language(self, language: str) -> str:
        """Return the Chinese text for `zh` and its regional forms, else the English one."""
        return self.zh if language.lower().startswith("zh") else self.en

    def filled(self, **values: object) -> Text:
        """Return the text with its places (`{ip}`) filled in."""
        return Text(self.en.format(**values), self.zh.format(**values))
