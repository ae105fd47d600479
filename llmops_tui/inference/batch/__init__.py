"""A file of requests, answered line by line as a job."""
