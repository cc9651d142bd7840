"""What the pipeline of a model is called wherever several pipelines meet."""

import hashlib
import re

# Such a name becomes a pipeline's by turning underscores into hyphens, and no two become the same.
_PLAIN = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")

# Of a Kubernetes label, the shortest that such a name may have to fit.
_LONGEST = 63
_DIGEST_LENGTH = 12


def pipeline_name(model_name: str) -> str:
    """Returns the name of a model's pipeline: of its DAG, and on Kubeflow, and in the metadata.

    It has lower-case letters, digits and hyphens only, which Kubeflow Pipelines demands and Airflow
    accepts. Names of models have more characters (`a_b`, `a-b` and `A.b` are three models); those
    that would lose some get a digest of the whole after two hyphens.
    """
    readable = re.sub(r"[^a-z0-9]+", "-", model_name.lower()).strip("-")
    if _PLAIN.fullmatch(model_name) and len(readable) <= _LONGEST:
        return readable
    digest = hashlib.sha256(model_name.encode()).hexdigest()[:_DIGEST_LENGTH]
    room = _LONGEST - len(digest) - len("--")
    return f"{readable[:room].strip('-') or 'model'}--{digest}"
