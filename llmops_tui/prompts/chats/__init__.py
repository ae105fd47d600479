"""Chats: conversations of many turns with a model, any turn of which can be said in another way and gone on with."""
