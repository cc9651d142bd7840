"""What one would write in Keras for folders of pictures: `benchmarks.icons` compares with it.

    python -m benchmarks.icons_keras FOLDER

FOLDER has `train/` and `test/`, each with a folder per class. Prints the accuracy on the latter as
one JSON object.
"""

import json
import sys
from pathlib import Path

import keras
from keras import layers

EDGE, EPOCHS, BATCH = 48, 20, 64
FILTERS = (32, 64, 128, 128)


def main() -> None:
    """Trains and tests."""
    folder = Path(sys.argv[1])
    keras.utils.set_random_seed(1)
    train, test = (
        keras.utils.image_dataset_from_directory(
            folder / part, image_size=(EDGE, EDGE), batch_size=BATCH, shuffle=part == "train"
        )
        for part in ("train", "test")
    )
    model = build(len(train.class_names))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, epochs=EPOCHS, verbose=0)
    print(json.dumps(model.evaluate(test, verbose=0, return_dict=True)))


def build(class_count: int) -> keras.Model:
    """Returns a network of as many layers as the pipeline's for this size."""
    model = keras.Sequential([keras.Input((EDGE, EDGE, 3)), layers.RandomFlip("horizontal")])
    model.add(layers.Rescaling(1 / 255))
    for channels in FILTERS:
        for _ in range(2):
            model.add(layers.Conv2D(channels, 3, padding="same", use_bias=False))
            # Of so few steps, the moving averages of momentum 0.99 would know too little.
            model.add(layers.BatchNormalization(momentum=0.9))
            model.add(layers.ReLU())
        model.add(layers.MaxPooling2D())
    for layer in (
        layers.Flatten(),
        layers.Dense(128, "relu"),
        layers.Dropout(0.3),
        layers.Dense(class_count, "softmax"),
    ):
        model.add(layer)
    return model


if __name__ == "__main__":
    main()
