"""Hashes and n-grams of text."""

import numpy as np

from emit.case import Case, const, ints, rand
from emit.cases.shape import I32, TEXT

SEEDS = const(rand(3, 4))
TEXTS = {
    "words": b"the quick brown fox jumps",
    "spaces": b" the  quick\tbrown\n fox ",
    "short": b"one",
    "lone": b" one",
}


def grams(name, text, size, skip, shorter):
    options = {"ngram_size": size, "max_skip_size": skip, "include_all_ngrams": shorter}
    return Case("SKIP_GRAM", [np.array([text], object)], options, TEXT, name=f"{name}-{size}-{skip}-{shorter}")


CASES = [
    *(Case("LSH_PROJECTION", [SEEDS, ints(5, 2), const(rand(5))], {"type": t}, I32, name=f"type-{t}") for t in (1, 2)),
    Case("LSH_PROJECTION", [SEEDS, rand(5)], {"type": 2}, I32, name="unweighted"),
    *(grams(name, text, 1, 0, False) for name, text in TEXTS.items()),
    *(grams("words", TEXTS["words"], *how) for how in ((2, 0, False), (2, 2, True), (3, 1, False), (3, 2, True))),
    *(grams("spaces", TEXTS["spaces"], *how) for how in ((2, 1, True), (5, 0, True))),
]
