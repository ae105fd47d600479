"""Files of requests that clients sent, and the batches that answer them."""
