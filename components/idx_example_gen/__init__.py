"""An ExampleGen that reads IDX image and label files."""
