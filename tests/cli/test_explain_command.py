import json

QUERY = "capital of France"


def write_documents(folder):
    file = folder / "documents.jsonl"
    lines = [
        {"id": "paris", "text": "Paris is the capital of France."},
        {"id": "rome", "text": "Rome \x1b[31m is old."},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def test_json_in_a_pipe(run, tmp_path):
    code, out, _ = run("explain", QUERY, write_documents(tmp_path))
    first, second = map(json.loads, out.splitlines())
    assert code == 0
    assert (first["rank"], first["id"], second["id"]) == (1, "paris", "rome")
    assert {"query_word": "France", "document_word": "France"}.items() <= first["words"][2].items()
    [span] = first["relevant_spans"]
    assert "Paris is the capital of France."[span["start"] : span["end"]].endswith("capital of France")


def test_a_page(run, tmp_path):
    page = tmp_path / "page.html"
    code, out, err = run("explain", QUERY, write_documents(tmp_path), "--html", str(page), "--top-k", "1")
    assert (code, out) == (0, "")
    assert "1 hits explained" in err
    content = page.read_text(encoding="utf-8")
    assert content.count("<article>") == 1
    assert "\x1b" not in content


def test_bad_input(run, tmp_path):
    documents = write_documents(tmp_path)
    assert run("explain", QUERY, documents, "--html", documents)[0] == 2
    assert run("explain", QUERY, documents, "--html", str(tmp_path / "no" / "page.html"))[0] == 2
    assert run("explain", "", documents)[0] == 2
    assert run("explain", QUERY, str(tmp_path / "missing"))[0] == 2


def test_rerank_gives_passages_when_asked(run, tmp_path):
    documents = write_documents(tmp_path)
    first = json.loads(run("rerank", QUERY, documents, "--spans")[1].splitlines()[0])
    assert first["relevant_spans"]
    assert "relevant_spans" not in json.loads(run("rerank", QUERY, documents)[1].splitlines()[0])
