import random
import re

import pytest
from training.batches import BatchMaker
from training.corpora import Source
from training.disguise import WORD, Disguise
from training_passages import passages

VOCABULARY = ["[CLS]", "the", "zebra", "quartz", "violet", "##ing", "##ness", "##s", "12", "é"]


def words(text):
    return WORD.findall(text.lower())


def test_a_word_is_replaced_by_the_same_word_everywhere_whatever_its_case():
    replace = Disguise(VOCABULARY).replacement(1.0, random.Random(0))
    first, second = replace("Enzymes repair DNA."), replace("(repair) of enzymes, 12 times")
    assert words(first) == [*words(second)[1::-1]]
    assert re.fullmatch(r"\w+ \w+ DNA\.", first)
    assert re.fullmatch(r"\(\w+\) of \w+, 12 \w+", second)
    assert not {"enzymes", "repair"} & {*words(first), *words(second)}


def test_new_words_are_of_the_vocabulary_some_with_an_ending():
    replace = Disguise(VOCABULARY).replacement(1.0, random.Random(0))
    found = {replace("word" + "x" * n) for n in range(200)}
    plain = {"the", "zebra", "quartz", "violet"}
    assert found == plain | {word + ending for word in plain for ending in ("ing", "ness")}


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_share_is_of_different_words(share):
    text = " ".join("word" + chr(97 + n % 26) * (1 + n // 26) for n in range(1000))
    found = Disguise(VOCABULARY).replacement(share, random.Random(0))(text)
    kept = sum(a == b for a, b in zip(text.split(), found.split(), strict=True))
    assert kept / 1000 == pytest.approx(1 - share, abs=0.05)


def test_half_of_the_batches_are_disguised_and_keep_their_labels():
    pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[evaluation]"')
    source = Source("squad", passages(), [])
    plain = BatchMaker([source], 0)
    disguised = BatchMaker([source], 0, Disguise(VOCABULARY))
    same = 0
    for number in range(100):
        one, other = plain.make(number), disguised.make(number)
        assert (one.labels, one.asked) == (other.labels, other.asked)
        assert [len(text.split()) for text in one.documents] == [len(text.split()) for text in other.documents]
        same += one == other
        assert disguised.make(number) == other
    assert 30 < same < 70
