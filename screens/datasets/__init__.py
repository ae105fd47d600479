"""The datasets screen: data and its versions, a table of any length, the record under the cursor, and what is wrong."""
