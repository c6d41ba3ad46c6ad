from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_tqs.read.keras.nodes import Source, items_of, kind_of, read_nodes
from edge_tqs.system.tensorflow import import_tensorflow, quiet


def model(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    x = keras.Input((6, 3), name="a")
    twice = layers.Dense(3, name="d")
    y = layers.MultiHeadAttention(1, 2, name="mha")(twice(twice(x)), value=x)
    inner = keras.Sequential([keras.Input((6, 3)), layers.Dense(3, name="deep")], name="inner")
    y = inner(inner(y))
    y = (y - ops.mean(y, axis=1, keepdims=True))[:, -1] * 2.0
    _, h, c = layers.LSTM(3, return_state=True, name="first")(x)
    z = layers.LSTM(3, name="second")(x, initial_state=[h, c])
    return keras.Model({"in": x}, {"o": y + z, "h": h, "q": ops.split(z, [1], axis=-1)[1]})


def test_a_model_is_a_sorted_list_of_the_applications_of_its_layers(tmp_path: Path) -> None:
    keras = import_tensorflow().keras
    keras.utils.clear_session()  # operations are numbered on through a process, and cannot be named
    with quiet():
        model(keras).save(tmp_path / "m.keras")
        nodes = read_nodes(keras.models.load_model(tmp_path / "m.keras"))
    assert [(given.name, given.shape, given.source) for given in nodes.inputs] == [("in", (None, 6, 3), Source("a"))]
    assert [(made.name, made.source) for made in nodes.outputs] == [
        ("h", Source("first", 1)),
        ("o", Source("add")),
        ("q", Source("split", 1)),
    ]
    found = {node.name: node for node in nodes.nodes}
    known = {"a"}
    for node in nodes.nodes:
        assert {source.node for source in node.sources} <= known
        known.add(node.name)
    assert found["d_call2"].operation is found["d"].operation
    assert (found["d_call2"].call, found["d_call2"].sources) == (1, (Source("d"),))
    assert found["mha"].sources == (Source("d_call2"), Source("a"))
    assert [found[name].sources for name in ("inner/deep", "inner_call2/deep")] == [
        (Source("mha"),),
        (Source("inner/deep"),),
    ]
    assert found["second"].sources == (Source("a"), Source("first", 1), Source("first", 2))
    assert found["multiply"].given["args"][1] == 2.0
    assert [found[name].kind for name in ("mean", "first", "inner/deep")] == ["ops.Mean", "LSTM", "Dense"]
    assert found["subtract"].shapes == ((None, 6, 3), (None, 1, 3))


def test_a_sequential_model_is_a_chain() -> None:
    keras = import_tensorflow().keras
    layers = keras.layers
    with quiet():
        nested = keras.Sequential([layers.Dense(2, name="deep"), layers.Flatten(name="flat")], name="inner")
        chain = keras.Sequential([keras.Input((6, 3), name="a"), layers.Dense(3, name="input"), nested])
        nodes = read_nodes(chain)
    assert [(given.name, given.shape) for given in nodes.inputs] == [("a", (None, 6, 3))]
    assert [(node.name, [source.key for source in node.sources], node.shapes) for node in nodes.nodes] == [
        ("input", [""], ((None, 6, 3),)),
        ("inner/deep", ["input"], ((None, 6, 3),)),
        ("inner/flat", ["inner/deep"], ((None, 6, 2),)),
    ]
    assert nodes.outputs[0].source == Source("inner/flat")
    items = list(items_of(chain.get_config()))
    assert [kind_of(item) for item in items] == ["InputLayer", "Dense", "InputLayer", "Dense", "Flatten"]


def test_a_nested_model_is_the_end_of_one_in_any_of_its_calls() -> None:
    keras = import_tensorflow().keras
    layers = keras.layers
    with quiet():
        given = [keras.Input((6, 2)), keras.Input((6, 1))]
        inner = keras.Model(given, layers.Dense(3, name="last")(layers.Concatenate(name="both")(given)), name="inner")
        x = keras.Input((6, 3), name="x")
        once = inner([x[..., :2], x[..., 2:]])
        twice = inner([once[..., :2], once[..., 2:]])
        ends = [read_nodes(keras.Model(x, end)).outputs[0].source for end in (once, twice)]
    assert ends == [Source("inner/last"), Source("inner_call2/last")]
