"""Indexes of documents: built, searched by each ranker side by side, and explained."""
