"""The exact twin's forward pass against the interpreter that it reproduces: batch 1, one thread, ratios of one run.

    python tests/bench/bench_exact.py ../shared/models/networks

interpreter: tflite_runtime with builtin kernels, one thread, in the agent's process. graph: the twin as a tf.function;
xla: the same with jit_compile=True. Medians; the ratio is to the interpreter. XLA must give the graph's bits.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.reconstruction import reconstruct
from liteback.session.board import RunOptions, connect

NETWORKS = ("pretrainedResnet_quant", "mobilenet_v1_0.25_128_quant")
PROFILE = "tflite_runtime-2.14-builtin-x86_64"
RUNS = 60


def milliseconds(fn: Callable[[], Any]) -> float:
    for _ in range(5):
        fn()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        fn()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main(folder: Path) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    options = RunOptions(runtime="tflite_runtime", kernels="builtin", threads=1)
    print(f"{'':32}{'interpreter':>12}{'graph':>9}{'ratio':>7}{'xla':>9}{'ratio':>7}  bits")
    with connect("local") as board:
        for name in NETWORKS:
            data = (folder / f"{name}.tflite").read_bytes()
            sample = next(iter(random_inputs(lift(data).main, 1, seed=0)))
            feeds = sample[0] if isinstance(sample, (list, tuple)) else sample
            device = statistics.median(board.benchmark(board.put_model(data), feeds, options, runs=RUNS)) / 1e6
            model = reconstruct(data, "exact", profile=PROFILE)
            x = tf.constant(next(iter(feeds.values())))
            graph, xla = tf.function(model), tf.function(model, jit_compile=True)
            plain, compiled = milliseconds(partial(graph, x)), milliseconds(partial(xla, x))
            same = np.array_equal(graph(x), xla(x))
            row = f"{device:>12.2f}{plain:>9.2f}{plain / device:>7.2f}{compiled:>9.2f}{compiled / device:>7.2f}"
            print(f"{name:32}{row}  {'equal' if same else 'DIFFER'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
