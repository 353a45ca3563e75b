import numpy as np
import pytest
import tokenizers
from example_counts import examples
from hypothesis import example, given
from hypothesis import strategies as st

from rank_rerank.checkpoints.find import bundled_folder
from rank_rerank.tokenization.text_cutting import MAX_CHARACTERS_PER_TOKEN, encode_beginning

LETTERS = st.characters(exclude_categories=["Cs"])
WORDS = st.one_of(
    st.text(LETTERS, max_size=12),
    st.text("abcdefg", min_size=90, max_size=130),
    st.text("語言處理テスト", max_size=20),
    st.sampled_from(["[MASK]", "[SEP]", "\u0301", "\x1c", "\u200d", "👩‍👩‍👧", "...", "\n\n", "\t"]),
)


@pytest.fixture(scope="module")
def tokenizer():
    loaded = tokenizers.Tokenizer.from_file(str(bundled_folder() / "tokenizer.json"))
    loaded.no_truncation()
    loaded.no_padding()
    loaded.encode_special_tokens = True
    return loaded


def assert_as_if_all_was_read(tokenizer, text, max_tokens):
    full = tokenizer.encode(text, add_special_tokens=False)
    words = encode_beginning(tokenizer, text, max_tokens)
    assert words.token_ids.tolist() == full.ids[:max_tokens]
    assert [tuple(span) for span in words.character_spans.tolist()] == full.offsets[:max_tokens]
    assert words.truncated == (len(full.ids) > max_tokens) or has_silent_end(text, full, max_tokens)


def has_silent_end(text, full, max_tokens):
    """Whether the text goes on after its last token, though without a token: whoever does not read on cannot know."""
    return len(full.ids) == max_tokens and text[full.offsets[-1][1] :].strip() != ""


@examples(400)
@example(["0", "000000\u00af", "000000\u00b8", "000000\u00b8", "a" * 130, "", " ", "\u0300"], " ", 5)
@given(st.lists(WORDS, max_size=60), st.sampled_from([" ", "", "  ", "\n"]), st.integers(1, 24))
def test_the_cut_changes_no_kept_token(tokenizer, words, joint, max_tokens):
    assert_as_if_all_was_read(tokenizer, joint.join(words), max_tokens)


@pytest.mark.slow
def test_the_cut_changes_no_kept_token_of_ten_thousand_texts(tokenizer):
    rng = np.random.default_rng(7)
    pieces = [
        "a",
        "word",
        "compound-ish",
        "x" * 99,
        "y" * 101,
        "言",
        "\u0301",
        " ",
        " ",
        "\n",
        ".",
        "[CLS]",
        "😀",
        "ß",
        "İ",
    ]
    for _ in range(10_000):
        text = "".join(rng.choice(pieces, size=rng.integers(0, 300)))
        assert_as_if_all_was_read(tokenizer, text, int(rng.integers(1, 12)))


def test_spans_point_into_the_callers_text_though_white_space_round_it_is_left_out(tokenizer):
    words = encode_beginning(tokenizer, "  \n naïve 😀 ", 10)
    assert ["  \n naïve 😀 "[start:end] for start, end in words.character_spans.tolist()] == ["naïve", "😀"]


@pytest.mark.parametrize(
    "text",
    ["word " * 2_000_000, "a" * 10_000_000, "語" * 10_000_000, "\x00" * 10_000_000, "é" * 10_000_000],
    ids=["words", "one word", "no spaces", "nothing but control characters", "accents"],
)
def test_ten_megabytes_are_cut_before_they_are_tokenized(tokenizer, text):
    reader = CountingTokenizer(tokenizer)
    words = encode_beginning(reader, text, 510)
    # one reading of as much as is read at most, and the shorter ones before it, each half as long as the next
    assert reader.num_characters < 2 * MAX_CHARACTERS_PER_TOKEN * 510
    assert len(words.token_ids) <= 510
    assert words.truncated


class CountingTokenizer:
    """Counts the characters that it is given."""

    def __init__(self, tokenizer):
        self.tokenizer, self.num_characters = tokenizer, 0

    def encode(self, text, *rest, **options):
        self.num_characters += len(text)
        return self.tokenizer.encode(text, *rest, **options)


def test_a_text_of_few_tokens_in_very_many_characters_is_read_up_to_the_stated_limit(tokenizer):
    text = "\x00" * (256 * 100 - 4) + " one two"
    words = encode_beginning(tokenizer, text, 100)
    assert [text[start:end] for start, end in words.character_spans.tolist()] == ["one"]
    assert words.truncated
