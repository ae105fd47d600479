"""Tests of experiments on served traffic."""
