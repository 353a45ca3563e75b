import sys
from pathlib import Path

EXAMPLES = str(Path(__file__).resolve().parent.parent.parent / "examples")
if EXAMPLES not in sys.path:
    sys.path.insert(0, EXAMPLES)
