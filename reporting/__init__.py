"""A run as a page: what it did, in one HTML file that needs nothing else."""
