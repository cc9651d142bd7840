"""A node that stops a run when its data has anomalies."""
