"""Hashes and n-grams of text."""

from itertools import pairwise, product

import numpy as np
import tensorflow as tf

from liteback.emit.registry import computes

SPACE = r"[\t-\r ]"  # what isspace() takes


@computes("LSH_PROJECTION")
def lsh_projection(seeds, x, weight=None, *, type):
    """Signs of sum_i(weight[i] * hash(seed, x[i])), for each seed (functions, bits); the hash is FarmHash64.

    DENSE (2): one int32 for each bit. SPARSE (1): the bits of each function as one int32, first bit on top, plus
    function << bits (lite/kernels/lsh_projection.cc).
    """
    if x.dtype == tf.string:
        raise NotImplementedError("a hash of the runtime's own string buffer")
    functions, bits = seeds.shape
    items = _bytes(tf.reshape(x, (tf.shape(x)[0], -1)))
    keys = _bytes(tf.reshape(seeds, (-1, 1)))
    pairs = tf.concat(
        [
            tf.repeat(keys[:, tf.newaxis], tf.shape(items)[0], axis=1),
            tf.repeat(items[tf.newaxis], functions * bits, axis=0),
        ],
        axis=-1,
    )
    digest = tf.raw_ops.Fingerprint(data=tf.reshape(pairs, (-1, pairs.shape[-1])), method="farmhash64")
    value = tf.cast(tf.bitcast(digest, tf.int64), tf.float64)
    value = tf.reshape(value, (functions * bits, -1))
    if weight is not None:
        value *= tf.cast(weight, tf.float64)
    signs = tf.cast(tf.reduce_sum(value, axis=1) > 0, tf.int32)
    if type == 2:
        return signs
    places = tf.bitwise.left_shift(1, tf.range(bits - 1, -1, -1))
    return tf.reduce_sum(tf.reshape(signs, (functions, bits)) * places, axis=1) + tf.range(functions) * (1 << bits)


def _bytes(x):
    """x (N, M) -> uint8 (N, M * size)."""
    if x.dtype == tf.bool:
        return tf.cast(x, tf.uint8)
    return tf.reshape(tf.bitcast(x, tf.uint8), (-1, x.shape[-1] * tf.as_dtype(x.dtype).size))


@computes("SKIP_GRAM")
def skip_gram(text, *, ngram_size, max_skip_size, include_all_ngrams):
    """The n-grams of a text's words, joined by spaces, with at most max_skip_size words left out between two.

    include_all_ngrams: shorter ones as well, each after the longer ones that begin with it. A text of fewer than
    ngram_size words has none (lite/kernels/skip_gram.cc).
    """
    words = _words(tf.reshape(text, (-1,))[0])
    count = tf.size(words)
    steps, present = _gram_table(ngram_size, max_skip_size, include_all_ngrams)
    position = tf.range(count)[:, tf.newaxis, tf.newaxis] + steps
    fits = tf.reduce_all(position < count, axis=-1) & (count >= ngram_size)
    chosen = tf.boolean_mask(position, fits)
    shown = tf.boolean_mask(tf.broadcast_to(present, tf.shape(position)), fits)
    parts = tf.gather(words, chosen)
    parts = tf.concat([parts[:, :1], tf.where(shown[:, 1:], tf.strings.join([" ", parts[:, 1:]]), "")], axis=1)
    return tf.strings.reduce_join(parts, axis=1)


def _words(text):
    """A text's words as the kernel finds them: a word behind one leading space is lost, unless it is the last."""
    led = tf.strings.regex_full_match(text, SPACE + r"(?s:.*)")
    lone = tf.strings.regex_full_match(text, SPACE + r"[^\t-\r ]*")
    rest = tf.strings.regex_replace(text, r"^" + SPACE + r"[^\t-\r ]*" + SPACE, "")
    rest = tf.strings.regex_replace(tf.where(led, rest, text), SPACE + "+", " ")
    words = tf.strings.split(tf.strings.strip(rest), " ")
    words = tf.boolean_mask(words, words != "")
    return tf.cond(lone, lambda: text[tf.newaxis], lambda: words)


def _gram_table(size, skip, shorter):
    """Each gram's steps from its first word, (K, size), in the kernel's order, and which of its words there are.

    The kernel lists depth first, a gram after all that continue it: lexicographic, with "no further word" last.
    """
    end = skip + 2
    rows = [
        gaps
        for gaps in product(range(1, end + 1), repeat=size - 1)
        if all(a < end or b == end for a, b in pairwise(gaps)) and (shorter or end not in gaps)
    ]
    gaps = np.array(rows, np.int32).reshape(len(rows), size - 1)
    present = np.concatenate([np.ones((len(rows), 1), bool), gaps < end], axis=1)
    steps = np.concatenate([np.zeros((len(rows), 1), np.int32), np.where(gaps < end, gaps, 0)], axis=1)
    return np.cumsum(steps, axis=1, dtype=np.int32), present
