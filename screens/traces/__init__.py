"""The traces screen: requests, feedback, and the review queue."""
