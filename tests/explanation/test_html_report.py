"""The page runs nothing, whatever the texts hold: as Python parses it, and as a browser does."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

import rank_rerank
from rank_rerank.documents import Document
from rank_rerank.errors import InvalidArgumentError
from rank_rerank.explanation.heat_map import save_heat_map
from rank_rerank.explanation.html_report import render_report

QUERY = "capital of France <script>alert(0)</script>"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEADLESS = [
    f"--{option}"
    for option in (
        "headless",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
    )
]
PAYLOADS = ["alert(1)", "document.title='hit'", "fetch('//x.example')", "eval(name)", "top.x=1"]
# one per line, as Python writes them in a string; "{}" stands for what would be run
FRAMES = [
    line.encode().decode("unicode_escape")
    for line in Path(__file__).with_name("attacks.txt").read_text(encoding="ascii").splitlines()
]
STRINGS = [frame.format(payload) for frame in FRAMES for payload in PAYLOADS]


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.names, self.attributes, self.text = set(), [], []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text.append(data)


def parse(page):
    tags = Tags()
    tags.feed(page)
    tags.close()
    return tags


ELEMENTS = (
    "html head meta title style body input header h1 nav label main article h2 span p mark details summary div table "
    "thead tbody tr th td meter"
)
ATTRIBUTES = "lang charset name content http-equiv type id checked for dir class title scope aria-label min max value"


def assert_harmless(tags):
    assert tags.names <= set(ELEMENTS.split())
    assert {name for name, _ in tags.attributes} <= set(ATTRIBUTES.split())


@pytest.fixture(scope="module")
def page(encoder):
    assert len(STRINGS) == 200
    reranker = rank_rerank.ColbertReranker(encoder)
    return render_report(QUERY, [reranker.explain(QUERY, Document(text, id=text)) for text in STRINGS])


def test_two_hundred_attacks_are_text(page):
    tags = parse(page)
    assert_harmless(tags)
    shown = "".join(tags.text)
    for text in STRINGS:
        assert text.replace("\x00", "\ufffd").replace("\x0b", "\ufffd") in shown


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_finds_no_script_in_them_either(page, tmp_path):
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"file://{tmp_path}/page.html"]
    dumped = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    tags = parse(dumped)
    assert_harmless(tags)
    assert QUERY in "".join(tags.text)
    assert dumped.count("<article>") == 200


def test_words_passages_and_the_filter(encoder):
    reranker = rank_rerank.ColbertReranker(encoder)
    text = "Paris is the capital of France."
    page = render_report("capital of France", [reranker.explain("capital of France", Document(text, id="p"))])
    tags = parse(page)
    assert ("id", "word0") in tags.attributes
    assert ("for", "word2") in tags.attributes
    assert "#word2:checked~main article mark:not(.w2)" in page
    assert '<mark class="s8 w2" title="France 0.' in page or '<mark class="s9 w2" title="France 0.' in page
    assert page.count('<span class="passage best" title="passage, score ') == 1  # beside the one of the legend
    assert "".join(tags.text).count("France") == 6  # title, heading, filter, text, and two heads of the heat map
    assert "Longer than the model reads" not in page
    long = render_report("capital", [reranker.explain("capital", "word " * 600)])
    assert "Longer than the model reads" in long
    assert "The first 400 words." in long


def test_the_best_passage_stands_out(encoder):
    reranker = rank_rerank.ColbertReranker(encoder)
    text = "France is large. Nothing else is said here. Paris is the capital of France. It rains in France."
    explanation = reranker.explain("capital of France", Document(text))
    best = max(explanation.spans, key=lambda span: span.score)
    page = render_report("capital of France", [explanation])
    assert page.count('title="passage') == len(explanation.spans) == 3
    assert f'<span class="passage best" title="passage, score {best.score:.2f}">' in page
    assert page.count('class="passage best" title') == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1200, 420])
def test_a_browser_shows_no_page_wider_than_its_window(encoder, tmp_path, width):
    """A frame as wide as a phone tells how wide the page in it would have to be, by a script of the outer page."""
    query = "Which one is the capital of France, and how many people have lived in it since it became one?"
    text = "Paris is the capital of France. " * 40 + "x" * 500
    explanation = rank_rerank.ColbertReranker(encoder).explain(query, Document(text, id="i" * 200))
    page = render_report(query, [explanation]).replace("<details>", "<details open>")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    (tmp_path / "frame.html").write_text(
        f'<iframe src="page.html" width="{width}" height="800"></iframe><p id="width"></p><script>'
        "onload = () => { const page = document.querySelector('iframe').contentDocument.documentElement;"
        "document.querySelector('#width').textContent = `${page.scrollWidth} in ${page.clientWidth}`; }</script>",
        encoding="utf-8",
    )
    command = [CHROMIUM, *HEADLESS, "--allow-file-access-from-files", "--virtual-time-budget=5000",
               f"--user-data-dir={tmp_path}/profile", "--dump-dom", f"file://{tmp_path}/frame.html"]  # fmt: skip
    dumped = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    needed, given = dumped.split('<p id="width">')[1].split("</p>")[0].split(" in ")
    assert width - 40 <= int(given) <= width
    assert int(needed) <= int(given)


def test_titles_relevance_ranks_and_words_not_found(encoder):
    reranker = rank_rerank.ColbertReranker(encoder)
    documents = [
        {"text": "Bananas are yellow.", "id": 7},
        {"text": "is the capital of France.", "title": "Paris <b>", "id": "p"},
        "Rain.",
    ]
    ranking = reranker.rerank("capital of France", documents)
    page = render_report(
        "capital of France", [reranker.explain("capital of France", hit.document) for hit in ranking], ranking.hits
    )
    first, *rest = page.split("<article>")[1:]
    assert first.startswith('<h2>1 <span dir="auto">Paris &lt;b&gt;</span> <span class="id" dir="auto">p</span>')
    assert "rank before 2, now 1" in first
    assert f'<meter min="0" max="1" value="{ranking[0].relevance:.3f}"' in first
    assert "Not found" not in first
    assert all('Not found: <span dir="auto">capital, France</span>' in each for each in rest)
    assert any('<h2>2 <span dir="auto">7</span>' in each or '<h2>3 <span dir="auto">7</span>' in each for each in rest)
    assert any("<span>Document 3</span>" in each for each in rest)
    with pytest.raises(InvalidArgumentError, match="1 explanations, but 3 hits"):
        render_report("q", [reranker.explain("q", "text")], ranking.hits)


def test_no_page_holds_lone_surrogates(encoder):
    explanation = rank_rerank.ColbertReranker(encoder).explain(
        "q", Document("text", "\ud800\x1b\x9b", {"title": "\udfff"})
    )
    assert "\ufffd" in render_report("q", [explanation]).encode().decode()


def test_no_documents():
    assert "No documents." in render_report("x", [])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_heat_maps_as_pictures(encoder, tmp_path, ending):
    pytest.importorskip("matplotlib", reason='needs matplotlib: pip install ".[report]"')
    explanation = rank_rerank.ColbertReranker(encoder).explain("$price of $5 rice", "It costs $7 or $8 & <more>")
    save_heat_map(explanation, tmp_path / f"map.{ending}")
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert (tmp_path / f"map.{ending}").read_bytes().startswith(head)


def test_a_heat_map_that_cannot_be_drawn(encoder, tmp_path):
    reranker = rank_rerank.ColbertReranker(encoder)
    with pytest.raises(InvalidArgumentError, match="must end with"):
        save_heat_map(reranker.explain("a word", "text"), tmp_path / "map.gif")
    with pytest.raises(InvalidArgumentError, match="no words"):
        save_heat_map(reranker.explain("word", ""), tmp_path / "map.png")
    with pytest.raises(InvalidArgumentError, match="max_words"):
        save_heat_map(reranker.explain("word", "text"), tmp_path / "map.png", max_words=0)
