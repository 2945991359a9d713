"""Resources: variables that last from call to call, and hash tables."""

import numpy as np
import tensorflow as tf
from keras import layers

from liteback.emit.names import is_symbolic
from liteback.emit.ops.flex import parsed
from liteback.emit.registry import Layer, computes, emits
from liteback.emit.state import Handle


@emits("VAR_HANDLE")
def var_handle(*, container, shared_name):
    """The variable of that name."""
    return Handle("variable", f"{container}/{shared_name}".strip("/"))


@emits("READ_VARIABLE")
def read_variable(handle, *, states):
    """The variable's value at this point of the graph."""
    value = states.read(handle)
    return Layer(layers.Identity, value) if is_symbolic(value) else value


@emits("ASSIGN_VARIABLE")
def assign_variable(handle, value, *, states):
    """From here on the variable is `value`."""
    states.write(handle, value)
    return ()


@emits("HASHTABLE")
def hashtable(*, table_id):
    """The table of that number."""
    return Handle("table", str(table_id))


@emits("CUSTOM:FlexHashTableV2")
def carried_table(*, custom_options):
    """The table of that name, of types that TensorFlow Lite has no tables for."""
    definition = parsed(custom_options)
    return Handle("table", definition.attr["shared_name"].s.decode() or definition.name)


@emits("HASHTABLE_IMPORT", "CUSTOM:FlexLookupTableImportV2", static=["keys", "values"])
def hashtable_import(table, keys, values, *, states):
    """Fill the table; a table that is filled stays what it is (lite/experimental/resource/static_hashtable.h)."""
    states.tables.setdefault(table, (keys, values))
    return ()


@emits("HASHTABLE_SIZE")
def hashtable_size(table, *, states):
    """How many keys the table has, shape (1,)."""
    keys, _ = states.tables[table]
    return np.array([len(np.unique(keys))], np.int64)


@computes("HASHTABLE_FIND", "CUSTOM:FlexLookupTableFindV2")
def hashtable_find(keys, values, query, default):
    """values[k] where query == keys[k], else default. The driver puts the table's keys and values for its handle."""
    keys, values, query = (tf.convert_to_tensor(v) for v in (keys, values, query))
    hits = tf.equal(query[..., tf.newaxis], tf.reshape(keys, [-1]))
    found = tf.gather(tf.reshape(values, [-1]), tf.argmax(tf.cast(hits, tf.int8), axis=-1))
    return tf.where(tf.reduce_any(hits, axis=-1), found, tf.reshape(tf.convert_to_tensor(default), []))
