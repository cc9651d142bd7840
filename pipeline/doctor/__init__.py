"""`runner.py doctor`: what this machine has, what will be used, what to do about what is missing.

A check takes the settings and returns findings. None imports TensorFlow or waits for a network.
"""
