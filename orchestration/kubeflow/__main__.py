"""The command of every container of the compiled pipeline: imports what a step needs, runs it."""

import sys

from serving.quick_imports import quick_imports

if __name__ == "__main__":
    with quick_imports():
        from orchestration.kubeflow.entry import main

    sys.exit(main(sys.argv[1:]))
