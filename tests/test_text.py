"""text: a sentence in two languages that the log knows to be ours."""

from __future__ import annotations

import pickle

from wxsign import errcodes, errors
from wxsign.text import Sentence, Text


def test_a_text_answers_in_the_language_asked_for():
    text = Text("yes", "是")
    assert [text.in_language(tag) for tag in ("zh", "zh-CN", "ZH-hant", "en", "fr", "")] == ["是"] * 3 + [
        "yes"
    ] * 3
    assert str(text) == "yes"


def test_both_sentences_of_a_text_are_known_as_ours_however_they_are_taken_from_it():
    text = Text("yes", "是")
    taken = (text.en, text.zh, str(text), text.in_language("zh"), pickle.loads(pickle.dumps(text)).en)
    assert all(isinstance(sentence, Sentence) for sentence in taken)


def test_what_is_made_of_a_sentence_and_something_else_is_not_ours():
    text = Text("yes", "是")
    made = (f"{text.en}", text.en + " it is", f"{text}: {text.zh}", text.en.upper())
    assert not any(isinstance(sentence, Sentence) for sentence in made)


def test_two_texts_make_one_in_each_language():
    assert Text("Wait.", "请等待。") + Text("Ask again.", "请重试。") == Text(
        "Wait. Ask again.", "请等待。请重试。"
    )


def test_places_of_a_text_are_filled_in_both_languages():
    assert Text("Add {ip}.", "请加入 {ip}。").filled(ip="192.0.2.7", more=1) == Text(
        "Add 192.0.2.7.", "请加入 192.0.2.7。"
    )


def test_the_class_is_found_where_it_always_was():
    assert errors.Text is errcodes.Text is Text
