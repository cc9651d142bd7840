"""A year of retraining and all its accidents, with a live server and clients on it throughout."""
