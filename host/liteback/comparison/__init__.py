"""A candidate against a recording: metrics, verdicts, gates."""
