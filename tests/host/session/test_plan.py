from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liteback.errors import UsageError
from liteback.ir import ABSENT, Graph, Node, Tensor
from liteback.session.plan import RAM_SHARE, RAM_UNKNOWN, default_budget, plan, select


def tensor(index: int, dtype: str = "int8", shape: tuple[int, ...] = (4,), constant: bool = False) -> Tensor:
    data = np.zeros(shape, np.int8) if constant else None
    return Tensor(index, f"net/t{index}", dtype, shape, shape, data=data)


def graph(tensors: Sequence[Tensor], nodes: Sequence[Node], outputs: tuple[int, ...]) -> Graph:
    return Graph(0, "main", tuple(tensors), tuple(nodes), (0,), outputs)


def chain(sizes: Sequence[int]) -> Graph:
    """Input 0, then node i computes tensor i + 1 of sizes[i] bytes."""
    tensors = [tensor(0), *(tensor(i + 1, shape=(n,)) for i, n in enumerate(sizes))]
    nodes = [Node(i, "RELU", (i,), (i + 1,)) for i in range(len(sizes))]
    return graph(tensors, nodes, (len(sizes),))


def network() -> Graph:
    """Weights by DEQUANTIZE, a convolution, a variable, a WHILE, a split, random numbers."""
    tensors = [
        tensor(0),
        tensor(1, "float16", constant=True),
        tensor(2, "float32"),
        tensor(3, "float32"),
        tensor(4, "resource"),
        tensor(5, "float32"),
        tensor(6, "float32", shape=(0, 3)),
        tensor(7, "float32"),
        tensor(8, "float32"),
    ]
    nodes = [
        Node(0, "DEQUANTIZE", (1,), (2,)),
        Node(1, "CONV_2D", (0, 2, ABSENT), (3,)),
        Node(2, "VAR_HANDLE", (), (4,)),
        Node(3, "WHILE", (3,), (5,)),
        Node(4, "SPLIT", (5,), (6, 7, ABSENT)),
        Node(5, "RANDOM_UNIFORM", (1,), (8,)),
    ]
    return graph(tensors, nodes, (7,))


def test_without_patterns_every_tensor_that_can_be_tapped() -> None:
    selection = select(network())
    assert selection.tensors == (3, 5, 7, 8)
    reasons = dict(selection.untappable)
    assert set(reasons) == {"#2 net/t2", "#4 net/t4", "#6 net/t6", "while_003"}
    assert "constants alone" in reasons["#2 net/t2"]
    assert "handle" in reasons["#4 net/t4"]
    assert "no elements" in reasons["#6 net/t6"]
    assert "subgraph of its own" in reasons["while_003"]


def test_a_constant_that_is_an_output_already_changes_nothing_when_it_is_read() -> None:
    nodes = [Node(0, "DEQUANTIZE", (1,), (2,))]
    assert select(graph([tensor(0), tensor(1, constant=True), tensor(2)], nodes, (2,))).tensors == (2,)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["conv2d_*"], (3,)),
        (["net/t7"], (7,)),
        (["net/t[78]"], (7, 8)),
        (["op:SPLIT"], (7,)),
        (["op:*"], (3, 5, 7, 8)),
        (["#3"], (5,)),
        (["#1..3"], (3, 5)),
        (["#4..4", "op:CONV_2D"], (3, 7)),
        (["!op:WHILE"], (3, 7, 8)),
        (["#1..4", "!net/t5"], (3, 7)),
    ],
)
def test_patterns(patterns: list[str], expected: tuple[int, ...]) -> None:
    assert select(network(), patterns).tensors == expected


def test_only_what_was_asked_for_is_listed_as_untappable() -> None:
    assert select(network(), ["op:CONV_2D"]).untappable == ()
    assert [name for name, _ in select(network(), ["#0"]).untappable] == ["#2 net/t2"]


def test_patterns_that_name_nothing_are_all_listed() -> None:
    with pytest.raises(UsageError, match=r"'convv\*', '!op:NOPE', '#99'"):
        select(network(), ["convv*", "op:SPLIT", "!op:NOPE", "#99"])


sizes = st.lists(st.integers(1, 60), max_size=30)


@given(sizes=sizes, budget=st.integers(1, 150))
def test_every_tensor_is_captured_within_the_budget(sizes: list[int], budget: int) -> None:
    net = chain(sizes)
    tensors = range(1, len(sizes) + 1)
    passes = plan(net, tensors, budget)
    assert list(dict.fromkeys(t for p in passes for t in p)) == list(tensors)
    for p in passes:
        assert len(set(p)) == len(p)
        assert sum(sizes[t - 1] for t in p) <= budget or len(p) == 1


@given(sizes=sizes, budget=st.integers(1, 150))
def test_a_pass_shares_a_tensor_with_an_earlier_one_wherever_one_fits(sizes: list[int], budget: int) -> None:
    net = chain(sizes)
    seen: set[int] = set()
    for p in plan(net, range(1, len(sizes) + 1), budget):
        first_new = next(t for t in p if t not in seen)
        room = budget - sizes[first_new - 1]
        if any(sizes[t - 1] <= room for t in seen):
            assert len(seen.intersection(p)) == 1
        seen.update(p)


def test_one_pass_where_all_fits_and_a_pass_of_its_own_for_what_does_not() -> None:
    assert plan(chain([10, 10, 10]), [1, 2, 3], 30) == ((1, 2, 3),)
    assert plan(chain([5, 90, 5, 5]), [1, 2, 3, 4], 20) == ((1,), (2,), (1, 3, 4))
    assert plan(chain([]), [], 20) == ()


def test_one_pattern_is_one_pattern() -> None:
    assert select(network(), "op:CONV_2D") == select(network(), ["op:CONV_2D"])


def test_a_budget_is_positive() -> None:
    with pytest.raises(UsageError, match="positive"):
        plan(chain([1]), [1], 0)


def test_the_default_budget_is_a_share_of_the_tightest_limit() -> None:
    assert default_budget(1000) == 1000 * RAM_SHARE
    assert default_budget(1000, 0, 400) == 400 * RAM_SHARE
    assert default_budget(0) == RAM_UNKNOWN
