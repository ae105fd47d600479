"""The shapes that rows of other programs have: recognising, reading and writing them."""
