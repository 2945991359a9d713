"""docs/ops.md, generated from the registry: `python -m liteback.emit.listing > docs/ops.md` (`make docs`)."""

from __future__ import annotations

import sys

from liteback.emit import ops  # noqa: F401  (fills the registry)
from liteback.emit.gaps import GAPS, STABLEHLO
from liteback.emit.registry import EMITTERS, KERNELS, Emitter, supported_ops
from liteback.numerics.coverage import HYBRID, ON_CODES
from liteback.numerics.operator import MOVING

# Their emitters return stock layers where they can, and else layers of liteback that are no OpLayer.
WITH_OWN_LAYERS = frozenset(
    {"IF", "STABLEHLO_CASE", "WHILE", "ASSIGN_VARIABLE", "READ_VARIABLE", "HASHTABLE_FIND", "SVDF", "LSTM", "RNN"}
    | {f"{way}_SEQUENCE_{cell}" for way in ("UNIDIRECTIONAL", "BIDIRECTIONAL") for cell in ("LSTM", "RNN")}
)

HEAD = """# Operators

Generated from the registry by `make docs`; a test keeps it fresh.

- **stock**: a stock Keras layer or `keras.ops`. The saved model loads where liteback is not installed.
- **stock or own**: stock where Keras has an equal for the operator's arguments, else as below.
- **own**: a registered layer of liteback (`OpLayer` or a layer of its own) that computes the operator with TensorFlow.
  A SavedModel of it loads with plain TensorFlow all the same.

Every supported operator has `float` and `fakequant` numerics; `fakequant` rounds its results to the device's grid where
the file has one. In `exact` it computes on **codes**, and as a **hybrid** kernel does on real data and quantized
weights; what only **moves** values is the same for codes. Where nothing stands, a quantized operator is refused by name
in `exact`; one of real values is computed as in `float`, within the tolerance of float kernels.

| operator | how | exact | what it computes |
|---|---|---|---|
"""


def markdown() -> str:
    """The page."""
    known = sorted(op for op in supported_ops() if op != "CONSTANT")
    rows = [f"| `{op}` | {_how(op)} | {_exact(op)} | {_what(op)} |" for op in known]
    gaps = [f"| `{op}` | {reason} |" for op, reason in GAPS.items() if reason != STABLEHLO and op != "CUSTOM"]
    stable = sum(reason == STABLEHLO for reason in GAPS.values())
    tail = """
## Not supported

| operator | why |
|---|---|
"""
    end = f"\nAnd the {stable} other `STABLEHLO_` operators: no release of the runtime has a kernel for them.\n"
    return HEAD + "\n".join(rows) + "\n" + tail + "\n".join(gaps) + "\n" + end


def _how(op: str) -> str:
    if op in EMITTERS and (op in KERNELS or op in WITH_OWN_LAYERS):
        return "stock or own"
    return "stock" if op in EMITTERS else "own"


def _exact(op: str) -> str:
    ways = {"codes": ON_CODES, "hybrid": HYBRID, "moves": MOVING}
    return ", ".join(way for way, members in ways.items() if op in members)


def _what(op: str) -> str:
    emitter: Emitter = EMITTERS.get(op) or KERNELS[op]
    first = (emitter.fn.__doc__ or "").strip().partition("\n")[0]
    return first.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(markdown())
