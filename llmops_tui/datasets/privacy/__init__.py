"""Personal data and secrets in datasets: detection, report, redaction and reversible pseudonyms."""
