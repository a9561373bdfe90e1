"""Whole critic steps, and what share of one each part takes."""
