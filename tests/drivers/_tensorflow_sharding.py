"""The layers under `tf.distribute.MirroredStrategy` with two logical CPU devices."""

import numpy as np
import tensorflow as tf

import bilinear.tensorflow as namespace


def start(rank, store):
    del rank, store  # one process has all devices
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


def layer(engine, name, cotangent, maps, mask, parameters):
    """Return descriptors, gradients of the maps, and the summed gradients of the weights."""
    del engine
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

    def split(array):
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                np.array_split(array, 2)[context.replica_id_in_sync_group], array.dtype
            )
        )

    with strategy.scope():
        pool = getattr(namespace, name)(**parameters, dtype=maps[0].dtype.name)
        pool(*map(tf.constant, maps))  # makes its weights

    def step(cotangent, maps, masks):
        learned = sorted(pool.trainable_weights, key=lambda weight: weight.name)
        sources = [*maps, *(weight.value for weight in learned)]
        with tf.GradientTape() as tape:
            tape.watch(sources)
            result = pool(*maps, **masks)
        return result, tape.gradient(result, sources, cotangent, unconnected_gradients="zero")

    masks = {} if mask is None else {"mask": split(mask)}
    run = tf.function(lambda *batch: strategy.run(step, batch))
    result, gradients = run(split(cotangent), [split(m) for m in maps], masks)
    parts = strategy.experimental_local_results
    result, *of_maps = (np.concatenate(parts(value)) for value in (result, *gradients[: len(maps)]))
    of_weights = [strategy.reduce("SUM", g, None).numpy() for g in gradients[len(maps) :]]
    return result, (of_maps, of_weights)
