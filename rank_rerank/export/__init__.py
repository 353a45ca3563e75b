"""Checkpoint → ONNX, INT8 rewriting, the parity gate. Needs the ``export`` extra; nothing imports it by default.

The way of a model: ``onnx_export`` (PyTorch → fp32 graph) → ``calibration`` (what flows through it on real texts) →
``int8_rewriting`` (``smoothing`` and ``weight_rounding`` inside) → ``fusion`` → ``parity``, which refuses what differs.
"""
