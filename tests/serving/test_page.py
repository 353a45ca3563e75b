"""The page in a browser: it ranks, marks, shows the same request elsewhere, and loads nothing from elsewhere."""

import json
import re
import shutil
import subprocess
from html import unescape
from urllib.parse import quote

import pytest
from servers import need_server

need_server()

from rank_rerank.documents.reading import TEXT_KEYS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUERY = "how do I renew my passport"
TEXTS = [
    "Opening hours of the library.",
    "😀 To renew a passport, bring the old passport.",
    '{"id": "<b>visa</b>", "content": "A visa is a mark. <img src=x onerror=document.title=1>"}',
]
CANDIDATES = "\n".join(TEXTS)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_stands_alone_and_says_so(client, path):
    answer = client.get(path)
    page, policy = answer.content.decode(), answer.headers["content-security-policy"]
    assert answer.headers["content-type"].startswith("text/html")
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", policy)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert client.get(path).headers["content-security-policy"] != policy
    assert re.findall(r"<(?:style|script)([^>]*)>", page) == [f' nonce="{nonce}"'] * (2 if path == "/" else 1)
    assert not re.search(r"https?://", page.split("<script")[0])
    assert " style=" not in page
    assert not re.search(r"\son[a-z]+=", page)
    assert not re.search(r"<(?:link|img|script|iframe)[^>]*(?:src|href)=\"(?!data:)", page)


@pytest.fixture(scope="module")
def shown(server, tmp_path_factory):
    """The page after it has ranked, as the browser holds it."""
    if CHROMIUM is None:
        pytest.skip("no Chromium")
    url = f"http://127.0.0.1:{server[0].port}/#query={quote(QUERY)}&candidates={quote(CANDIDATES)}"
    # a profile of its own: a browser that finds another one at work on it leaves the page to that one
    profile = f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--virtual-time-budget=20000",
        "--dump-dom",
        profile,
    ]
    found = subprocess.run([CHROMIUM, *flags, url], capture_output=True, text=True, timeout=600, check=True)
    return found.stdout


def hits(page):
    return re.findall(r"<li>(.*?)</li>", page, re.DOTALL)


def test_the_page_ranks_with_marks_and_ranks_before_and_after(shown, reranker):
    ranking = reranker.rerank(QUERY, ["Opening hours of the library.", TEXTS[1], "A visa is a mark."])
    listed = hits(shown)
    assert len(listed) == 3
    assert ranking[0].index == 1
    assert "was 2 ↑1" in listed[0]
    assert re.search(r'<mark class="s\d" title="[\d.]+">passport</mark>', listed[0])
    assert re.search(r'<span class="passage[^"]*" title="passage, score', listed[0])
    # an emoji in front is one code point, and two units of a browser's string
    assert unescape(re.sub(r"<[^>]+>", "", re.search(r'<p class="text"[^>]*>(.*?)</p>', listed[0])[1])) == (TEXTS[1])
    assert f"{ranking[0].relevance:.3f}" in listed[0]
    assert "<meter" in listed[0]
    assert "3 candidates" in shown
    assert "ready · 0 waiting" in shown


def test_texts_stay_texts_on_the_page(shown):
    listed = "".join(hits(shown))
    assert "<img" not in listed
    assert "<b>" not in listed
    assert "&lt;b&gt;visa&lt;/b&gt;" in listed
    assert "<title>rank-rerank</title>" in shown


def test_a_file_can_be_chosen_with_the_keyboard_and_the_control_shows_its_focus(client):
    """The control itself is not seen: its label after it is."""
    page = client.get("/").content.decode()
    control = re.search(r'<input id="file" type="file"[^>]*>\s*<label for="file" class="button">', page)
    assert control is not None
    assert "tabindex" not in control[0]
    assert re.search(r"#file:focus-visible\+\.button[^{]*\{outline:\d", page)


def test_the_page_reads_objects_as_the_server_does(client):
    script = client.get("/").content.decode().partition("<script")[2]
    assert json.loads(re.search(r"TEXT_KEYS = (\[.*?\]);", script)[1]) == list(TEXT_KEYS)


def test_the_same_request_for_other_programs(shown, client):
    samples = {
        name: unescape(re.search(rf'<pre id="{name}"[^>]*>(.*?)</pre>', shown, re.DOTALL)[1])
        for name in ("curl", "python", "javascript")
    }
    address = f"http://127.0.0.1:{client.port}"
    assert f"curl {address}/v1/rerank" in samples["curl"]
    assert f'base_url="{address}"' in samples["python"]
    compile(samples["python"], "sample", "exec")
    assert "fetch(" in samples["javascript"]
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    run = subprocess.run(
        [shutil.which("bash"), "-c", samples["curl"]], capture_output=True, text=True, timeout=600, check=True
    )
    assert '"results":[{"index":1' in run.stdout
