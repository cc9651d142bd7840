"""What production asked: recorded requests, written in front of a model server and read again."""
