"""The versioned directory that a model server watches: list, publish, roll back, prune, label.

Only the standard library and pydantic are imported here, so that asking what is being served
costs milliseconds; `tf.io.gfile` is imported for remote destinations alone.
"""
