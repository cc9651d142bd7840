"""A DistributionValidator that looks at the newest span alone."""
