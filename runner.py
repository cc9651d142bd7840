#!/usr/bin/env -S uv run
"""Starts the command line."""

from cli.app import main

if __name__ == "__main__":
    main()
