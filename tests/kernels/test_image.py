"""An object file becomes an image that can be mapped anywhere, or is refused."""

import ctypes
import platform

import pytest
from llvmlite import binding

from rank_rerank.kernels.executable_memory import can_map_code, map_code
from rank_rerank.kernels.image import PAGE, ImageError, make_image

TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
# a table of constants, a call of another function, and one of a function behind a far constant
PROGRAM = """
@table = internal constant [4 x i64] [i64 11, i64 22, i64 33, i64 44]
@far = internal constant [PADDING x i8] zeroinitializer, align 4096

define internal i64 @double(i64 %a) noinline {
  %zero = getelementptr [PADDING x i8], ptr @far, i64 0, i64 %a
  %nothing = load i8, ptr %zero
  %wide = sext i8 %nothing to i64
  %b = add i64 %a, %a
  %c = add i64 %b, %wide
  ret i64 %c
}

define i64 @kernel(i64 %index) {
  %address = getelementptr [4 x i64], ptr @table, i64 0, i64 %index
  %value = load i64, ptr %address
  %result = call i64 @double(i64 %value)
  ret i64 %result
}
""".replace("PADDING", str(3 * PAGE))
OUTSIDE = """
declare i64 @outside(i64)
define i64 @kernel(i64 %a) {
  %b = call i64 @outside(i64 %a)
  ret i64 %b
}
"""
WRITTEN = """
@count = internal global i64 7
define i64 @kernel(i64 %a) {
  %b = load i64, ptr @count
  store i64 %a, ptr @count
  ret i64 %b
}
"""
ADDRESSES = """
@table = internal constant [2 x ptr] [ptr @kernel, ptr @kernel]
define i64 @kernel(i64 %a) {
  %address = getelementptr [2 x ptr], ptr @table, i64 0, i64 %a
  %value = load i64, ptr %address
  ret i64 %value
}
"""


def object_file(program: str, machine: str) -> bytes:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    target = binding.Target.from_triple(TRIPLES[machine]).create_target_machine(reloc="pic", codemodel="small", opt=2)
    module = binding.parse_assembly(program)
    module.triple = TRIPLES[machine]
    return target.emit_object(module)


@pytest.mark.skipif(not can_map_code(), reason="this system maps no images")
@pytest.mark.skipif(platform.machine() not in TRIPLES, reason="images are for x86-64 and 64-bit Arm")
def test_an_image_runs_wherever_it_is_mapped():
    image = make_image(object_file(PROGRAM, platform.machine()), "kernel")
    mapped = [map_code(image.code) for _ in range(2)]
    assert mapped[0][0] != mapped[1][0]
    for start, _owner in mapped:
        kernel = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(start + image.entry)
        assert [kernel(index) for index in range(4)] == [22, 44, 66, 88]


@pytest.mark.parametrize("machine", TRIPLES)
def test_both_families_lay_code_and_constants_out(machine):
    image = make_image(object_file(PROGRAM, machine), "kernel")
    assert b"".join(value.to_bytes(8, "little") for value in (11, 22, 33, 44)) in image.code
    assert image.entry < len(image.code)


@pytest.mark.parametrize("machine", TRIPLES)
@pytest.mark.parametrize("program", [OUTSIDE, WRITTEN, ADDRESSES])
def test_what_needs_a_linker_is_refused(program, machine):
    with pytest.raises(ImageError):
        make_image(object_file(program, machine), "kernel")


def test_a_function_that_is_not_there_is_refused():
    with pytest.raises(ImageError, match="function"):
        make_image(object_file(PROGRAM, "x86_64"), "another")


def test_a_damaged_object_is_refused_or_laid_out_but_never_read_beyond_its_end():
    content = object_file(PROGRAM, "x86_64")
    for length in range(0, len(content), 61):
        if length < len(content) - 64:  # the last section header may be one that is not needed
            with pytest.raises(ImageError):
                make_image(content[:length], "kernel")
