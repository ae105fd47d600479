"""What an answer is worth: one class a metric, each naming its source."""
