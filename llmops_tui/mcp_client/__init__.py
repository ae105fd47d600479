"""Tools of other programs, over the Model Context Protocol: their servers, and the calls that a person approves."""
