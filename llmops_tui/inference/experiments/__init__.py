"""Experiments on served traffic: which of two models answers a conversation; no kill or restart changes it."""
