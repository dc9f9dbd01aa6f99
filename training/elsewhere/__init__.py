"""Drawn characters of two kinds that the built-in model never learns from: for tests and evaluation alone.

Nothing here comes from the training world (`animate_core/demo`) but the skeleton drawing that the model reads, and nothing that trains may
import from here: a test keeps both.
"""
