"""Run a few tokens on an execution provider and print which provider computed how many nodes, as JSON.

usage: python -m rank_rerank.inference.onnx_runtime.provider_trial MODEL_FILE PROVIDER OPTIONS_AS_JSON

A process of its own, as a provider that cannot cope with a model may end the process that asks it to.
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

TRIAL_LENGTH = 8
FATAL = 4


def run_trial(model_file: str, provider: str, provider_options: dict[str, str]) -> dict[str, int]:
    """Numbers of nodes by the provider that ran them; a part that a provider compiles shows as one node."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(folder) / "profile")
        providers: list[Any] = [(provider, provider_options)]
        session = onnxruntime.InferenceSession(model_file, options, providers=providers)
        tokens = np.ones((1, TRIAL_LENGTH), np.int64)
        session.run(None, {tensor.name: tokens for tensor in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    nodes = {
        event["name"]: event["args"]["provider"]
        for event in events
        if event.get("cat") == "Node" and "provider" in event.get("args", {})
    }
    return dict(Counter(nodes.values()))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run_trial(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
