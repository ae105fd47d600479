"""The privacy screen: find and forget a person, receipts, retention, and the report."""
