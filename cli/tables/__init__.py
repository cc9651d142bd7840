"""What verbs print as tables."""
