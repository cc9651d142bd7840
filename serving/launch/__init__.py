"""Model servers that a candidate can be tried on, behind one small interface."""
