"""Cases of several turns: what users say, which tools there are, what they return, and which calls are right."""
