"""Clips as pictures: parts cut out and put back."""
