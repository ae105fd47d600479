"""Tests of the address of all models."""
