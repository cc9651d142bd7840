"""Obtains Fashion-MNIST, lays out spans and takes in new images."""
