"""What a repeated MaxSim call and the kernel that prepares it write to each other, and how that kernel reads arrays.

The kernel gets arrays as objects and reads their C structs, as every extension that is compiled against NumPy does:
``PyArray_DATA`` and its like are fields at fixed offsets (numpy/ndarraytypes.h, ``PyArrayObject_fields``), and so is
the type of any object (Include/object.h). A call that goes through Python's attributes takes a microsecond per array.
"""

# words of the form: what stays the same for all calls of one shape
(
    REFUSED, NUM_QUERY_TOKENS, DIM, ITEM_BYTES, NUM_COLUMNS, PANEL_COLUMNS, REGISTER_COLUMNS, NUM_ROWS, CAPACITY,
    ARRAY_TYPE, FLOAT32, INT64, STORED, NUM_FORM_WORDS,
) = range(14)  # fmt: skip

NUM_PREPARE_ARGUMENTS = 12

# how documents are given: vectors with offsets, [num_documents, num_tokens, dim], or a tuple of matrices
PACKED, CUBE, SEPARATE = range(3)

# arguments of the loop, as bytes of a row: after two words of numba's convention
_FIRST_ARGUMENT = 2
ROW_SCORES, ROW_NUM_DOCUMENTS = 8 * (_FIRST_ARGUMENT + 13), 8 * (_FIRST_ARGUMENT + 21)

# bytes into an object: the reference count, then its type; of an array, what it is made of
OBJECT_TYPE = 8
ARRAY_DATA, ARRAY_AXES, ARRAY_SHAPE, ARRAY_STRIDES, ARRAY_DTYPE = 16, 24, 32, 40, 56

INFINITY = 0x7F800000  # the bits of a float32 without its sign; NaN lies above
