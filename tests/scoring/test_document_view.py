import numpy as np
import pytest

from rank_rerank.scoring.document_view import BFLOAT16, address_of

ARRAYS = {
    "plain": np.zeros((3, 4), np.float32),
    "part": np.zeros((3, 4), np.float32)[1:],
    "column": np.zeros((3, 4), np.float32)[:, 1],
    "backwards": np.zeros(4, np.int64)[::-1],
    "empty": np.zeros((0, 4), np.int8),
    "read-only": np.frombuffer(b"12345678", np.int8),
    "bfloat16": np.zeros(3, BFLOAT16),
    "dates": np.zeros(3, "datetime64[s]"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_address_is_that_of_the_first_number(name):
    array = ARRAYS[name]
    assert address_of(array) == array.__array_interface__["data"][0]
