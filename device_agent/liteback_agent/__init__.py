"""The agent of a board: it stores models, runs them, and sends their tensors. Contract: agent.proto."""

VERSION = "0.1.0"
