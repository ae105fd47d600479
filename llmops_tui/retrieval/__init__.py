"""Retrieval: indexes of documents as versioned artefacts, searched by words, by meaning and by both, and explained."""
