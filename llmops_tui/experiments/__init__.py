"""What experiments on served traffic have shown so far: outcomes by conversation, and the verdict on them."""
