"""What rows mean: embeddings of a version, and search, duplicates, outliers, topics and coverage by them."""
