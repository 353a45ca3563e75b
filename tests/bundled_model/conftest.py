import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parents[2] / "examples" / "bundled_model")
if FOLDER not in sys.path:
    sys.path.insert(0, FOLDER)
