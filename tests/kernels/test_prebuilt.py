"""A kernel that the package brought is used if it belongs to the installed sources, and is whole."""

from dataclasses import replace

import pytest

from rank_rerank.kernels import loading, prebuilt
from rank_rerank.kernels.code_files import MachineCode, pack_code
from rank_rerank.kernels.loading import cached_name, find_origin, load_kernel, make_code
from rank_rerank.kernels.prebuilt import file_name, sources_digest, this_system
from rank_rerank.kernels.processor import target_of, vector_path
from rank_rerank.scoring.compiled.loading import scorer_spec

pytestmark = pytest.mark.skipif(this_system() is None, reason="this system maps no images")

SPEC = replace(scorer_spec("float32", vector_path(), with_matches=False), name=f"test-{vector_path().name}")


@pytest.fixture(scope="module")
def code() -> MachineCode:
    return make_code(SPEC, target_of(SPEC.path))


@pytest.fixture
def package(tmp_path, monkeypatch, code):
    """A package that brought a kernel, no cache, and no way to compile."""
    folder = tmp_path / str(this_system())
    folder.mkdir()
    file = folder / file_name(SPEC.name, SPEC.num_arguments)
    file.write_bytes(pack_code(f"{folder.name}/{file.name}", sources_digest(SPEC.sources), code, "a test"))
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path)
    monkeypatch.setattr(loading, "readable_cache_folder", lambda: None)
    monkeypatch.setattr(loading, "cache_folder", lambda: None)
    monkeypatch.setattr(loading, "_origins", {})
    monkeypatch.setattr(loading, "compile_kernel", refuse)
    return file


def refuse(*_):
    raise AssertionError("it compiled")


def test_it_is_used(package):
    assert find_origin(SPEC) == "prebuilt"
    assert callable(load_kernel(SPEC).call)
    assert find_origin(SPEC) == "prebuilt"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "another's name", "another system's", "another source"])
def test_what_is_not_this_kernels_is_compiled_instead(package, damage, tmp_path, code):
    content, spec = package.read_bytes(), SPEC
    if damage == "cut":
        package.write_bytes(content[:-1])
    elif damage == "flipped":
        package.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "empty":
        package.write_bytes(b"")
    elif damage == "another's name":
        spec = replace(SPEC, name="other")
        package.rename(package.with_name(file_name("other", SPEC.num_arguments)))
    elif damage == "another system's":
        package.write_bytes(pack_code(f"linux-riscv64/{package.name}", sources_digest(SPEC.sources), code, "a test"))
    else:
        source = tmp_path / "source.py"
        source.write_text("changed since")
        spec = replace(SPEC, sources=(*SPEC.sources, source))
    assert find_origin(spec) is None
    with pytest.raises(AssertionError, match="it compiled"):
        load_kernel(spec)


def test_where_the_system_maps_nothing_llvm_links_what_is_compiled(monkeypatch):
    def forbid(_code):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(loading, "map_code", forbid)
    monkeypatch.setattr(loading, "_origins", {})
    monkeypatch.setattr(loading, "cache_folder", lambda: None)
    monkeypatch.setattr(loading, "readable_cache_folder", lambda: None)
    assert callable(load_kernel(SPEC).call)
    assert find_origin(SPEC) == "compiled now"


def test_one_that_was_compiled_is_kept_and_found(tmp_path, monkeypatch, code):
    monkeypatch.setattr(loading, "_origins", {})
    monkeypatch.setattr(loading, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(loading, "readable_cache_folder", lambda: tmp_path)
    monkeypatch.setattr(loading, "make_code", lambda *_: code)
    assert loading.keep_kernel(SPEC) == "compiled now"
    assert [file.name for file in tmp_path.iterdir()] == [cached_name(SPEC)]
    monkeypatch.setattr(loading, "make_code", refuse)
    assert loading.keep_kernel(SPEC) == "cached"
    assert callable(load_kernel(SPEC).call)
