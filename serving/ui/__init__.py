"""A page on which a person tries a served model: drop, pick or draw a picture, see the scores."""
