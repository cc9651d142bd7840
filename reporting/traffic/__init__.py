"""Live traffic as a report and a page."""
