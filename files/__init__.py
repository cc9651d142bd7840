"""Files that other processes see whole, and locks that end with their holder."""
