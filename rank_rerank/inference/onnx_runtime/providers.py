"""Execution providers of ONNX Runtime: which part of a model really runs on the one that was asked for.

ONNX Runtime takes a provider as a wish: nodes that it cannot run, or all of them where it is not installed, go to the
CPU without a word. Here the nodes are counted, a part on the CPU is logged as a warning, and ``strict`` refuses it.
"""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import onnxruntime

from rank_rerank.errors import DeviceError
from rank_rerank.inference.execution_provider import SUFFIX, ExecutionProvider

CPU = f"CPU{SUFFIX}"
STRICT_ENTRY = ("session.disable_cpu_ep_fallback", "1")
TRIAL_TIMEOUT_S = 300
PACKAGE = Path(__file__).resolve().parents[2]

logger = logging.getLogger("rank_rerank")


def check_available(provider: ExecutionProvider) -> None:
    """Refuse a provider that this build of ONNX Runtime does not have.

    Raises:
        DeviceError: the message names those that it has.
    """
    available = onnxruntime.get_available_providers()
    if provider.full_name not in available:
        raise DeviceError(
            f"this ONNX Runtime has no {provider.full_name[:60]}; it has {', '.join(available)}. Providers come with "
            "builds of their own, as onnxruntime-gpu or onnxruntime-openvino"
        )


def count_nodes(model_file: Path, provider: ExecutionProvider) -> dict[str, int]:
    """Run a few tokens in a process of their own, and count which provider computes how many of the graph's nodes.

    A provider that compiles a part of the graph shows that part as one node. Takes about a second.

    Returns:
        Numbers of nodes by the provider's full name.

    Raises:
        DeviceError: the provider fails on the model, or ends the process.
    """
    arguments = [str(model_file), provider.full_name, json.dumps(dict(provider.options))]
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "rank_rerank.inference.onnx_runtime.provider_trial", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *sys.path])},
        capture_output=True,
        text=True,
        timeout=TRIAL_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"the process ended with {done.returncode}"]
        raise DeviceError(f"{model_file.name} does not run on {provider.full_name}: {last[0][:400]}")
    return json.loads(done.stdout.splitlines()[-1])


def check_nodes(model_file: Path, provider: ExecutionProvider) -> dict[str, int]:
    """Count nodes, and warn or refuse where a part runs on the CPU though another provider was asked for.

    Raises:
        DeviceError: none of the model runs there, or a part does not and the provider is strict.
    """
    check_available(provider)
    nodes = count_nodes(model_file, provider)
    there = nodes.get(provider.full_name, 0)
    elsewhere = sum(nodes.values()) - there
    said = (
        f"{there} of {there + elsewhere} nodes of {model_file.name} run on {provider.full_name}, the others on the CPU"
    )
    if there == 0 or (provider.strict and elsewhere):
        raise DeviceError(f'{said}. Load with device="cpu", or use a model in a form that this provider takes')
    if elsewhere:
        logger.warning("%s", said)
    else:
        logger.info("all %d nodes of %s run on %s", there, model_file.name, provider.full_name)
    return nodes
