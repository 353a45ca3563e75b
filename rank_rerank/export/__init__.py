"""Checkpoint → ONNX, INT8 rewriting, the parity gate. Needs the ``export`` extra; nothing imports it by default.

A model's way: ``onnx_export`` (PyTorch → fp32 graph) → ``activation_statistics`` (what flows through it on real texts)
→ ``int8_rewriting`` (``smoothing`` and ``weight_rounding`` inside) → ``graph_fusion`` → ``parity``, which refuses what
differs.
"""
