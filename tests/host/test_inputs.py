from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from liteback.errors import UsageError
from liteback.inputs import Inputs, random_inputs, read_inputs
from liteback.inputs.synthetic import CLIP, index_bound
from liteback.ir import Graph, Node, Quantization, Signature, Tensor

HALVES = Quantization(np.array([0.5], np.float32), np.array([3]))
UNIT = Quantization(np.array([1 / 255], np.float32), np.array([-128]))


def tensor(
    index: int,
    dtype: str = "float32",
    shape: tuple[int, ...] = (1, 4),
    quantization: Quantization | None = None,
    signature: tuple[int, ...] | None = None,
    data: NDArray[Any] | None = None,
) -> Tensor:
    return Tensor(index, f"t{index}", dtype, shape, signature or shape, quantization, data)


def graph(*inputs: Tensor, constants: tuple[Tensor, ...] = (), nodes: tuple[Node, ...] = ()) -> Graph:
    return Graph(0, "main", (*inputs, *constants), nodes, tuple(t.index for t in inputs), ())


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


def only(inputs: Inputs) -> list[NDArray[Any]]:
    return [values for sample in inputs for values in sample.values()]


# --- arrays ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 4), (3, 1, 4)])
def test_the_leading_axis_counts_samples_and_the_batch_axis_may_be_left_out(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    array = np.arange(12, dtype=np.float32).reshape(shape)
    inputs = read_inputs(saved(tmp_path, t0=array), graph(tensor(0)))
    assert len(inputs) == 3
    for i, value in enumerate(only(inputs)):
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, array[i].reshape(1, 4))


@pytest.mark.parametrize(
    ("given", "says"), [(255.0, " (75 % of it clipped to 0..1)"), (1.0, ""), (np.inf, " (75 % of it clipped to 0..1)")]
)
def test_what_lies_beyond_the_scale_is_told(tmp_path: Path, given: float, says: str) -> None:
    array = np.array([[0.5, given, given, given]], np.float32)
    inputs = read_inputs(saved(tmp_path, t0=array), graph(tensor(0, "int8", quantization=UNIT)))
    assert inputs.description == f"x.npz, 1 sample, in_0 quantized at the tensor's scale{says}"


def test_names_by_tensor_signature_or_position(tmp_path: Path) -> None:
    net = graph(tensor(0), tensor(1, "int32", ()), tensor(2, "bool", (2,)))
    signature = Signature("serve", 0, {"ids": 1}, {})
    other = Signature("decode", 1, {"flags": 2}, {})  # of another subgraph
    path = saved(tmp_path, t0=np.ones((2, 4), np.float32), ids=np.array([7, 8]), in_2=np.ones((2, 2), bool))
    inputs = read_inputs(path, net, signatures=[signature, other])
    assert inputs[1][1] == np.int32(8)
    assert inputs[1][1].shape == ()
    assert inputs[0][2].tolist() == [True, True]
    assert "x.npz, 2 samples" in inputs.description


def test_one_npy_for_the_only_input_and_a_limit(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((5, 4), np.float64))
    inputs = read_inputs(tmp_path / "x.npy", graph(tensor(0)), limit=2)
    assert [v.dtype for v in only(inputs)] == [np.float32] * 2
    with pytest.raises(IndexError):
        inputs[2]


def test_arrays_need_no_file(tmp_path: Path) -> None:
    array, net = np.arange(12, dtype=np.float32).reshape(3, 4), graph(tensor(0), tensor(1))
    from_file = read_inputs(saved(tmp_path, t0=array, in_1=array + 1), net)
    from_memory = read_inputs({"t0": array, "in_1": (array + 1).tolist()}, net)
    np.testing.assert_array_equal(only(from_memory), only(from_file))
    assert from_memory.description == "arrays, 3 samples"
    assert len(read_inputs(array, graph(tensor(0)), limit=2)) == 2


@pytest.mark.parametrize("source", [None, 3, [1.0], {0: np.zeros(4)}], ids=["None", "number", "list", "by number"])
def test_what_is_no_input_is_refused(source: Any) -> None:
    with pytest.raises(UsageError, match="Received: "):
        read_inputs(source, graph(tensor(0)))


def test_arrays_that_do_not_fit_are_told_as_those_of_a_file_are() -> None:
    with pytest.raises(
        UsageError, match=r"The arrays do not fit[^$]*no input is called 'x'[^$]*in_0 't0'.* is missing"
    ):
        read_inputs({"x": np.zeros([3, 4])}, graph(tensor(0)))
    with pytest.raises(UsageError, match="one array without a name is the only input"):
        read_inputs(np.zeros([3, 4]), graph(tensor(0), tensor(1)))


def test_real_numbers_are_quantized_and_codes_are_kept(tmp_path: Path) -> None:
    net = graph(tensor(0, "int8", (1, 4), HALVES))
    real = read_inputs(saved(tmp_path, t0=np.array([[0.0, 0.5, -1.0, 1e9]])), net)
    assert only(real)[0].tolist() == [[3, 4, 1, 127]]
    assert "quantized" in real.description
    codes = read_inputs(saved(tmp_path, t0=np.array([[1, -2, 127, -128]])), net)
    assert only(codes)[0].tolist() == [[1, -2, 127, -128]]
    assert "quantized" not in codes.description


def test_open_extents_take_the_data_s(tmp_path: Path) -> None:
    net = graph(tensor(0, shape=(1, 1, 3), signature=(-1, -1, 3)))
    assert only(read_inputs(saved(tmp_path, t0=np.zeros((1, 2, 9, 3), np.float32)), net))[0].shape == (
        2,
        9,
        3,
    )


def test_strings(tmp_path: Path) -> None:
    net = graph(tensor(0, "string", (1, 2)))
    assert only(read_inputs(saved(tmp_path, t0=np.array([["a", "\u00e9"]])), net))[0].tolist() == [[b"a", b"\xc3\xa9"]]


def test_every_problem_is_listed_at_once(tmp_path: Path) -> None:
    net = graph(
        tensor(0),
        tensor(1, "uint8"),
        tensor(2, "int8", (1, 4), HALVES),
        tensor(3, signature=(-1, 4)),
        tensor(4),
        tensor(5),
        tensor(6, "int8", (1, 4), HALVES),
    )
    path = saved(
        tmp_path,
        t0=np.zeros((2, 5), np.float32),
        t1=np.full((2, 4), 256),
        t2=np.full((2, 4), np.nan),
        in_4=np.zeros((2, 4), np.uint8),
        in_5=np.full((2, 4), 1e300),
        in_6=np.full((2, 4), 200, np.uint8),
        who=np.zeros(3),
    )
    with pytest.raises(UsageError) as caught:
        read_inputs(path, net)
    for line in (
        "no input is called 'who'",
        "in_0 't0': float32 [1, 4] does not take a sample of shape [5]",
        "in_1 't1': uint8 [1, 4] does not take int64 values from 256 to 256",
        "in_2 't2': int8 [1, 4] does not take NaN",
        "in_3 't3': float32 [?, 4] is missing",
        "in_4 't4': float32 [1, 4] does not take uint8 values: store real numbers, scaled as in training, as float32",
        "in_5 't5': float32 [1, 4] does not take float64 values beyond the range of float32",
        "in_6 't6': int8 [1, 4] does not take uint8 values from 200 to 200: integers are codes; real numbers",
    ):
        assert line in str(caught.value)


def test_inputs_of_different_lengths(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not 2 for in_0, 3 for in_1"):
        read_inputs(saved(tmp_path, t0=np.zeros((2, 4)), t1=np.zeros((3, 4))), graph(tensor(0), tensor(1)))


def test_a_name_two_tensors_share_names_neither(tmp_path: Path) -> None:
    twin = Tensor(1, "t0", "float32", (1, 4), (1, 4))
    with pytest.raises(UsageError, match=r"no input is called 't0'(.|\n)*in_0 't0'.*is missing"):
        read_inputs(saved(tmp_path, t0=np.zeros((1, 4))), graph(tensor(0), twin))


@pytest.mark.parametrize(
    ("array", "why"), [(np.float32(1), "its leading axis counts samples"), (np.zeros((0, 4), "f"), "it has no samples")]
)
def test_arrays_without_samples(tmp_path: Path, array: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        read_inputs(saved(tmp_path, t0=array), graph(tensor(0)))


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "x.txt"])
@pytest.mark.parametrize("content", [None, b"", b"junk", b"PK\x03\x04junk"])
def test_files_that_are_no_inputs(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=name):
        read_inputs(tmp_path / name, graph(tensor(0)))


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot be read"):
        read_inputs(tmp_path / "x.npy", graph(tensor(0)))


def test_a_limit_is_positive(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="positive"):
        read_inputs(saved(tmp_path, t0=np.zeros((1, 4))), graph(tensor(0)), limit=0)


# --- images ------------------------------------------------------------------------------------------------


def image(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path)


def pixels(height: int = 2, width: int = 3) -> NDArray[np.uint8]:
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3) * 10


@pytest.mark.parametrize(
    ("dtype", "quantization", "value_range", "expected"),
    [
        ("uint8", HALVES, None, lambda p: p),
        ("int8", HALVES, None, lambda p: p.astype(int) - 128),
        ("int32", None, None, lambda p: p),
        ("float32", None, None, lambda p: p / 255),
        ("float32", None, (-1.0, 1.0), lambda p: p / 127.5 - 1),
        ("int8", UNIT, (0.0, 1.0), lambda p: p.astype(int) - 128),
        ("uint8", HALVES, (0.0, 10.0), lambda p: np.floor(p / 255 * 10 * 2 + 0.5) + 3),
    ],
)
def test_pixels_become_what_the_tensor_takes(
    tmp_path: Path, dtype: str, quantization: Quantization | None, value_range: Any, expected: Any
) -> None:
    image(tmp_path / "a.png", pixels())
    net = graph(tensor(0, dtype, (1, 2, 3, 3), quantization))
    (value,) = only(read_inputs(tmp_path, net, value_range=value_range))
    assert value.dtype == dtype
    np.testing.assert_allclose(value[0], expected(pixels()), rtol=1e-6, atol=1e-6)


def test_images_in_order_resized_gray_and_from_subfolders(tmp_path: Path) -> None:
    image(tmp_path / "b" / "1.PNG", np.full((9, 9, 3), 7, np.uint8))
    image(tmp_path / "a.jpg", np.full((5, 6), 9, np.uint8))
    (tmp_path / "labels.txt").write_text("not an image")
    inputs = read_inputs(tmp_path, graph(tensor(0, "uint8", (1, 4, 4, 1))))
    assert [v.shape for v in only(inputs)] == [(1, 4, 4, 1)] * 2
    assert [int(v[0, 0, 0, 0]) for v in only(inputs)] == [9, 7]
    assert "2 images" in inputs.description
    assert "4x4" in inputs.description


def test_an_open_size_keeps_the_image_s_own(tmp_path: Path) -> None:
    image(tmp_path / "a.png", pixels())
    net = graph(tensor(0, "uint8", (1, 1, 1, 3), signature=(-1, -1, -1, 3)))
    np.testing.assert_array_equal(only(read_inputs(tmp_path, net))[0][0], pixels())


def test_all_broken_images_are_named(tmp_path: Path) -> None:
    image(tmp_path / "ok.png", pixels())
    for name in ("b1.png", "b2.jpg"):
        (tmp_path / name).write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"b1\.png(.|\n)*b2\.jpg"):
        read_inputs(tmp_path, graph(tensor(0, "uint8", (1, 2, 3, 3))))


def test_an_image_cut_short(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image(tmp_path / "a.png", rng.integers(0, 256, (64, 64, 3), np.uint8))
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=r"a\.png cannot be read as an image"):
        read_inputs(tmp_path, graph(tensor(0, "uint8", (1, 64, 64, 3))))


@pytest.mark.parametrize(
    "net",
    [
        graph(tensor(0)),
        graph(tensor(0, "uint8", (1, 2, 3, 4))),
        graph(tensor(0, "bool", (1, 2, 3, 3))),
        graph(tensor(0, "uint8", (1, 2, 3, 3)), tensor(1)),
    ],
)
def test_models_that_take_no_images(tmp_path: Path, net: Graph) -> None:
    image(tmp_path / "a.png", pixels())
    with pytest.raises(UsageError):
        read_inputs(tmp_path, net)


def test_a_folder_of_nothing_or_of_both(tmp_path: Path) -> None:
    net = graph(tensor(0, "uint8", (1, 2, 3, 3)))
    with pytest.raises(UsageError, match="neither"):
        read_inputs(tmp_path, net)
    image(tmp_path / "a.png", pixels())
    sound(tmp_path / "a.wav", [0])
    with pytest.raises(UsageError, match="both"):
        read_inputs(tmp_path, net)


def test_of_a_folder_nothing_is_said_of_arrays(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(UsageError, match=r"a\.png: cannot identify") as caught:
        read_inputs(tmp_path, graph(tensor(0, "uint8", (1, 2, 3, 3))))
    assert "array" not in str(caught.value)


# --- sounds ------------------------------------------------------------------------------------------------


def sound(path: Path, frames: Any, rate: int = 16000, channels: int = 1, width: int = 2) -> None:
    dtype = {1: "u1", 2: "<i2", 3: "<i4", 4: "<i4"}[width]
    raw = np.asarray(frames, dtype).tobytes()
    if width == 3:
        raw = np.frombuffer(raw, np.uint8).reshape(-1, 4)[:, :3].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)


def test_pcm_codes_are_kept_cut_and_padded(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", [1, -2, 32767, -32768, 5])
    sound(tmp_path / "b.wav", [9])
    inputs = read_inputs(tmp_path, graph(tensor(0, "int16", (1, 4))))
    assert [v.tolist() for v in only(inputs)] == [[[1, -2, 32767, -32768]], [[9, 0, 0, 0]]]
    assert inputs.description.startswith("2 sounds of ")


@pytest.mark.parametrize(("width", "full"), [(1, 128), (2, 2**15), (3, 2**23), (4, 2**31)])
def test_every_pcm_width_spans_minus_one_to_one(tmp_path: Path, width: int, full: int) -> None:
    zero = 128 if width == 1 else 0
    sound(tmp_path / "a.wav", [zero - full, zero, zero + full // 2], width=width)
    (value,) = only(read_inputs(tmp_path, graph(tensor(0, shape=(1, 3)))))
    np.testing.assert_allclose(value, [[-1, 0, 0.5]], atol=1e-6)


def test_channels_are_averaged_and_the_rate_is_changed(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", np.array([[0, 2], [2, 4], [4, 6], [6, 8]]) * 1000, rate=8000, channels=2)
    (value,) = only(read_inputs(tmp_path, graph(tensor(0, "int16", (1, 8, 1)))))
    assert value[0, :, 0].tolist() == [1000, 2000, 3000, 4000, 5000, 6000, 7000, 7000]


def test_sounds_are_scaled_and_quantized(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", [-32768, 0, 16384, 0])
    net = graph(tensor(0, "int8", (1, 4), HALVES))
    assert only(read_inputs(tmp_path, net, value_range=(-10, 10)))[0].tolist() == [[-17, 3, 13, 3]]


def test_an_open_length_keeps_the_sound_s_own(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", range(7))
    assert only(read_inputs(tmp_path, graph(tensor(0, shape=(1, 1), signature=(-1, -1)))))[0].shape == (1, 7)


def test_sounds_for_a_model_of_images_and_broken_sounds(tmp_path: Path) -> None:
    sound(tmp_path / "a.wav", [0])
    with pytest.raises(UsageError, match="one axis"):
        read_inputs(tmp_path, graph(tensor(0, shape=(1, 40, 98))))
    (tmp_path / "b.wav").write_bytes(b"RIFF")
    with pytest.raises(UsageError, match=r"b\.wav"):
        read_inputs(tmp_path, graph(tensor(0)))


# --- random ------------------------------------------------------------------------------------------------


def test_a_random_sample_depends_on_seed_and_number_alone() -> None:
    net = graph(tensor(0), tensor(1, "int8"))
    five, nine = random_inputs(net, 5, seed=3), random_inputs(net, 9, seed=3)
    for a, b in zip(only(five), only(nine), strict=False):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(five[0][0], five[1][0])
    assert not np.array_equal(five[0][0], random_inputs(net, 1, seed=4)[0][0])
    assert five.description.startswith("RANDOM")


def test_random_values_by_dtype() -> None:
    shape = (1, 4000)
    net = graph(
        *(tensor(i, d, shape) for i, d in enumerate(["float32", "int8", "uint8", "bool", "int32", "complex64"]))
    )
    f, i8, u8, b, i32, c = random_inputs(net, 1)[0].values()
    assert np.abs(f).max() == np.float32(CLIP)
    assert (i8.min(), i8.max()) == (-128, 127)
    assert (u8.min(), u8.max()) == (0, 255)
    assert set(np.unique(b)) == {False, True}
    assert set(np.unique(i32)) == {0, 1}
    assert c.dtype == np.complex64
    assert c.imag.any()


def test_random_strings_are_bytes() -> None:
    (value,) = random_inputs(graph(tensor(0, "string", (2, 2))), 1)[0].values()
    assert value.shape == (2, 2)
    assert all(isinstance(v, bytes) for v in value.flat)


def test_floats_that_the_model_quantizes_fill_its_range() -> None:
    quantized = tensor(1, "uint8", (1, 4), HALVES)
    net = graph(tensor(0, shape=(1, 4000)), constants=(quantized,), nodes=(Node(0, "QUANTIZE", (0,), (1,)),))
    value = random_inputs(net, 1)[0][0]
    assert -1.5 <= value.min() < -1
    assert 125 < value.max() <= 126


def lookup(op: str, positions: tuple[int, ...], table: tuple[int, ...], **options: Any) -> Graph:
    """Input 0 -> CAST -> 1 -> `op` with table 2."""
    constants = (tensor(1, "int32"), tensor(2, shape=table, data=np.full(table, 6)), tensor(3))
    nodes = (Node(0, "CAST", (0,), (1,)), Node(1, op, positions, (3,), options))
    return graph(tensor(0), constants=constants, nodes=nodes)


@pytest.mark.parametrize(
    ("net", "bound"),
    [
        (lookup("GATHER", (2, 1), (50, 7), axis=0), 50),
        (lookup("GATHER", (2, 1), (50, 7), axis=1), 7),
        (lookup("GATHER", (2, 1), (50, 7), axis=-1), 7),
        (lookup("GATHER", (1, 2), (50, 7), axis=0), 0),
        (lookup("EMBEDDING_LOOKUP", (1, 2), (9, 3)), 9),
        (lookup("GATHER_ND", (2, 1), (5, 8, 6, 7, 2)), 5),
        (lookup("ONE_HOT", (1, 2, 2, 2), ()), 6),
        (lookup("ADD", (1, 2), (1, 4)), 0),
        (lookup("EMBEDDING_LOOKUP", (1, -1), (9, 3)), 0),
        (lookup("EMBEDDING_LOOKUP", (1, 2), ()), 0),
    ],
)
def test_indices_stay_inside_their_table(net: Graph, bound: int) -> None:
    assert index_bound(net, 0) == bound
    if bound:
        value = random_inputs(net, 400)
        assert {int(v) for sample in value for v in sample[0].flat} == set(range(bound))


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (1, -1)])
def test_random_counts_and_seeds(count: int, seed: int) -> None:
    with pytest.raises(UsageError, match="Random inputs take"):
        random_inputs(graph(tensor(0)), count, seed)
