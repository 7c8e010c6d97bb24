"""The variables of a tiny BERT as google-research/bert names them, and a checkpoint of them.

`tests/data/tensorflow/` was written by TensorFlow 2.21 with

    python -m tests.tensorflow_checkpoint tests/data/tensorflow/model.ckpt-28252

The values are a function of the place, so that a test can tell every one of them.
"""

import sys

import numpy as np

WIDTH, LAYERS, HEADS, INNER, TOKENS, PLACES = 8, 2, 2, 12, 11, 6


def shapes():
    """Shape of each weight by its name; google-research/bert, modeling.py, run_pretraining.py."""
    found = {
        "bert/embeddings/word_embeddings": (TOKENS, WIDTH),
        "bert/embeddings/position_embeddings": (PLACES, WIDTH),
        "bert/embeddings/token_type_embeddings": (2, WIDTH),
        "cls/predictions/output_bias": (TOKENS,),
        "cls/seq_relationship/output_weights": (2, WIDTH),
        "cls/seq_relationship/output_bias": (2,),
    }

    def dense(name, inputs, outputs):
        found[f"{name}/kernel"] = (inputs, outputs)
        found[f"{name}/bias"] = (outputs,)

    def norm(name):
        found[f"{name}/LayerNorm/gamma"] = found[f"{name}/LayerNorm/beta"] = (WIDTH,)

    norm("bert/embeddings")
    for number in range(LAYERS):
        layer = f"bert/encoder/layer_{number}"
        for name in ("query", "key", "value"):
            dense(f"{layer}/attention/self/{name}", WIDTH, WIDTH)
        dense(f"{layer}/attention/output/dense", WIDTH, WIDTH)
        norm(f"{layer}/attention/output")
        dense(f"{layer}/intermediate/dense", WIDTH, INNER)
        dense(f"{layer}/output/dense", INNER, WIDTH)
        norm(f"{layer}/output")
    for name in ("bert/pooler/dense", "cls/predictions/transform/dense"):
        dense(name, WIDTH, WIDTH)
    norm("cls/predictions/transform")
    return found


def variables():
    """Weights, moments of two of them, and the step; exact in fp32."""
    values = {
        name: (number + np.arange(np.prod(shape)).reshape(shape) / 1024).astype(np.float32)
        for number, (name, shape) in enumerate(sorted(shapes().items()))
    }
    moments = {
        f"{name}/adam_{moment}": np.zeros_like(values[name])
        for name in ("bert/pooler/dense/kernel", "cls/predictions/output_bias")
        for moment in "mv"
    }
    return values | moments | {"global_step": np.int64(28252)}


def write(path, values):
    """Has TensorFlow write a checkpoint."""
    import tensorflow  # noqa: PLC0415 - only who makes the file anew has it

    v1 = tensorflow.compat.v1
    with tensorflow.Graph().as_default(), v1.Session() as session:
        made = [v1.get_variable(name, initializer=value) for name, value in values.items()]
        session.run(v1.global_variables_initializer())
        v1.train.Saver(made).save(session, str(path), write_meta_graph=False, write_state=False)


if __name__ == "__main__":
    write(sys.argv[1], variables())
