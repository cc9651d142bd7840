"""nginx in front of a model server: who may ask, how much, and of which version."""
