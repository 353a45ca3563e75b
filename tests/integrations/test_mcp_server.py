import asyncio
import sys

import pytest
from child_processes import child_environment

pytest.importorskip("mcp.server.mcpserver", reason='needs mcp: pip install ".[mcp]"')
pytest.importorskip("bm25s", reason='needs bm25s: pip install ".[search]"')

from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

from rank_rerank.errors import InvalidArgumentError
from rank_rerank.inference.load_options import LoadOptions
from rank_rerank.integrations.mcp_server import make_server
from rank_rerank.integrations.model_source import ModelSource

TEXTS = ["Bananas are yellow.", "Paris is the capital of France.", "Berlin is in Germany."]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "notes").mkdir(parents=True)
    (root / "notes" / "cities.md").write_text("# Cities\n\nParis is the capital of France.\n")
    (tmp_path / "secret.txt").write_text("The secret of Paris.")
    (root / "way_out").symlink_to(tmp_path)
    return root


def ask(target, *calls):
    """Call tools as a client does; the first answer is the list of tools."""

    async def talk():
        async with Client(target) as client:
            tools = await client.list_tools()
            return tools, [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(talk())


@pytest.fixture
def server(reranker, root):
    return make_server(ModelSource(LoadOptions(), reranker), [root])


def test_the_tools_are_described(server):
    tools, _ = ask(server)
    assert [tool.name for tool in tools.tools] == ["rerank", "search_folder"]
    for tool in tools.tools:
        assert tool.description
        assert all("description" in each for each in tool.input_schema["properties"].values())


def test_rerank_is_rerank(server, reranker):
    _, (answer,) = ask(server, ("rerank", {"query": "capital of France", "documents": TEXTS, "top_k": 2}))
    ranking = reranker.rerank("capital of France", TEXTS, top_k=2)
    assert not answer.is_error
    results = answer.structured_content["results"]
    assert [(each["index"], each["score"], each["relevance"]) for each in results] == [
        (hit.index, hit.score, hit.relevance) for hit in ranking
    ]


def test_search_folder_finds_passages_with_their_places(server, root):
    _, (answer, again) = ask(
        server,
        ("search_folder", {"query": "capital of France"}),
        ("search_folder", {"query": "capital of France", "path": str(root / "notes")}),
    )
    (best,) = answer.structured_content["results"]
    assert (best["path"], best["line"]) == ("notes/cities.md", 1)
    assert again.structured_content["results"][0]["path"] == "cities.md"


@pytest.mark.parametrize("path", ["..", "/", "way_out", "notes/../.."])
def test_what_lies_outside_of_the_roots_is_refused(server, path):
    _, (answer,) = ask(server, ("search_folder", {"query": "secret", "path": path}))
    assert answer.is_error
    assert "may not be searched" in answer.content[0].text
    assert "secret of Paris" not in str(answer)


def test_mistakes_are_told_to_the_model(server):
    _, answers = ask(
        server,
        ("rerank", {"query": " ", "documents": TEXTS}),
        ("rerank", {"query": "a", "documents": TEXTS, "top_k": 0}),
        ("search_folder", {"query": "a", "path": "missing"}),
    )
    assert all(answer.is_error for answer in answers)
    assert "query" in answers[0].content[0].text
    assert "is not a folder" in answers[2].content[0].text


@pytest.mark.parametrize("path", ["a\0b", "~nobody-of-this-name", "a" * 5000, "notes/cities.md"])
def test_what_is_no_folder_is_told_to_the_model(server, path):
    _, (answer,) = ask(server, ("search_folder", {"query": "a", "path": path}))
    assert answer.is_error
    assert "is not a folder" in answer.content[0].text
    assert len(answer.content[0].text) < 1000


def test_a_server_without_a_folder_to_search_is_refused(tmp_path):
    with pytest.raises(InvalidArgumentError, match="is not a folder"):
        make_server(ModelSource(LoadOptions()), [tmp_path / "missing"])
    with pytest.raises(InvalidArgumentError, match="at least one folder"):
        make_server(ModelSource(LoadOptions()), [])


def test_the_command_speaks_over_standard_input_and_output(root, tmp_path):
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "rank_rerank", "mcp", "--root", str(root)],
        env=child_environment(HF_HUB_OFFLINE="1"),
    )
    with (tmp_path / "log").open("w+", encoding="utf-8") as log:
        _, (answer,) = ask(stdio_client(server, log), ("search_folder", {"query": "capital of France"}))
        log.seek(0)
        assert "DEBUG" not in log.read()
    assert answer.structured_content["results"][0]["path"] == "notes/cities.md"
