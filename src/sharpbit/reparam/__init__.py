"""Equivalent transformations: networks trained rich and turned exactly into plain ones."""
