import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rank_rerank.integrations.folder_search.html_text import read_html
from rank_rerank.integrations.folder_search.passages import MAX_LENGTH, SEPARATOR, split_file
from rank_rerank.integrations.folder_search.words import words_of

pieces = st.sampled_from(
    [
        "word",
        " ",
        "\n",
        "\n\n",
        "# Title\n",
        "Title\n=====\n",
        "```\n",
        ". ",
        "東京都",
        "x" * 500,
        "a sentence ends here. " * 80,
        "\r\n",
        "é",
    ]
)
texts = st.lists(pieces, max_size=30).map("".join)


@given(text=texts, name=st.sampled_from(["a.md", "a.py", "a.txt"]))
@settings(deadline=None)
def test_passages_cover_a_text_and_stand_where_they_say(text, name):
    passages = split_file(name, text)
    assert "".join("".join(each.text.split()) for each in passages) == "".join(text.split())
    assert all(text[each.start : each.end] == each.text for each in passages)
    assert all(each.line == text.count("\n", 0, each.start) + 1 for each in passages)
    assert all(0 < len(each.text) <= MAX_LENGTH for each in passages)
    assert [each.start for each in passages] == sorted(each.start for each in passages)


def test_headings_of_markdown_are_known():
    text = "# Store\n\nIntro.\n\n## Files\n\n```sh\n# a comment\n```\n\nText.\n\nOther\n-----\n\nLast.\n"
    passages = split_file("a.md", text)
    assert [(each.headings, each.text.split("\n")[0], each.line) for each in passages] == [
        ("Store", "# Store", 1),
        (f"Store{SEPARATOR}Files", "## Files", 5),
        ("Other", "Other", 13),
    ]
    assert split_file("a.py", "# no heading\n")[0].headings == ""


def test_a_passage_is_read_with_the_headings_it_stands_under():
    first, second = split_file("a.md", "# Store\n\n" + "A sentence about it. " * 40 + "\n\n" + "The end of it. " * 30)
    assert first.read_text == first.text
    assert second.read_text == f"Store\n{second.text}"


PAGE = """<!DOCTYPE html><html><head><title>T</title><style>p {}</style></head><body>
<div role="navigation"><div>Menu <div>deep</div></div></div><nav>More menu</nav>
<h1>The &amp; <b>Title</b><a class="headerlink" href="#t">¶</a></h1><p>First paragraph with <em>emphasis</em>,
over two lines.<p>Second &#228; <script>var x = "<p>no</p>";</script>one
<h2>Inner</h2><pre>kept
   as it is</pre><ul><li>one<li>two</ul><img alt="x"><br/>tail</body></html>"""


def test_the_text_of_a_page():
    page = read_html(PAGE)
    assert page.text == (
        "The & Title\n\nFirst paragraph with emphasis, over two lines.\n\nSecond ä one\n\n"
        "Inner\n\nkept\n   as it is\n\none\n\ntwo\n\ntail"
    ).replace("emphasis, over", "emphasis,\nover")
    assert [(each.level, each.title) for each in page.headings] == [(1, "The & Title"), (2, "Inner")]


def test_passages_of_a_page_stand_where_they_say():
    passages = split_file("a.html", PAGE)
    assert [each.headings for each in passages] == ["The & Title", f"The & Title{SEPARATOR}Inner"]
    first, inner = passages
    assert PAGE[first.start :].startswith("The &amp; <b>Title")
    assert PAGE[: first.end].endswith(">one")
    assert PAGE[inner.start :].startswith("Inner</h2>")
    assert PAGE[: inner.end].endswith("tail")
    assert PAGE.split("\n")[inner.line - 1].startswith("<h2>Inner")


marks = [
    "<p>",
    "</p>",
    "<nav>",
    "</nav>",
    "<h2>",
    "</h2>",
    "&amp;",
    "&#x41;",
    "&bad;",
    "<",
    "<!--",
    "-->",
    "<br>",
    "<pre>",
    "</pre>",
    "<![CDATA[",
    "é",
    "&#xd800;",
]


@given(page=st.lists(st.sampled_from([*marks, "word ", "\n"]), max_size=25).map("".join))
@settings(deadline=None)
def test_any_page_is_read_as_far_as_it_goes(page):
    for passage in split_file("a.htm", page):
        assert 0 <= passage.start < passage.end <= len(page)
        passage.text.encode()


def test_the_end_of_a_broken_page_is_not_lost():
    assert read_html("<p>text <b>bold").text == "text bold"
    assert read_html("a < b & c").text.startswith("a <")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("EmbeddingStore.open", {"embed", "store", "open", "embeddingstor"}),
        ("max_seq_length", {"max", "seq", "length"}),
        ("HTTPServer2", {"http", "server"}),
        ("running runs", {"run"}),
        ("東京都", {"東京", "京都"}),
        ("Zürich", {"zürich"}),
    ],
)
def test_words_of_prose_and_of_names(text, wanted):
    pytest.importorskip("Stemmer", reason='needs PyStemmer: pip install ".[search]"')
    assert wanted <= set(words_of(text))
    assert all(re.fullmatch(r"\S+", word) for word in words_of(text))
