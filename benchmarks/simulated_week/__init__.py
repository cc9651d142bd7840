"""A week of retraining on the sample, with a live server and clients on it throughout."""
