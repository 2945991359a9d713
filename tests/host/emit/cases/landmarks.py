"""MediaPipe's operators on landmarks, against what MediaPipe computes."""

from dataclasses import replace

import numpy as np

from emit.landmark_cases import CASES as UNRECORDED
from emit.landmark_cases import RECORDED

with np.load(RECORDED) as found:
    CASES = [replace(case, expected=[found[str(case)]]) for case, _ in UNRECORDED]
