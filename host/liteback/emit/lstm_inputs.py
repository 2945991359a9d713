"""The names and the order of an LSTM's inputs in the schema."""

from __future__ import annotations

GATES = ("input", "forget", "cell", "output")
# The inputs of an LSTM after x, before its states and its norms; BIDIRECTIONAL_SEQUENCE_LSTM has them twice.
LSTM_WEIGHTS = (
    *(f"input_to_{gate}" for gate in GATES),
    *(f"recurrent_to_{gate}" for gate in GATES),
    *(f"peephole_to_{gate}" for gate in ("input", "forget", "output")),
    *(f"{gate}_bias" for gate in GATES),
    "projection",
    "projection_bias",
)
NORMS = tuple(f"{gate}_norm" for gate in GATES)
AUXILIARY = tuple(f"aux_to_{gate}" for gate in GATES)
