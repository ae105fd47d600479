"""Chains behind the one address of all models: asked by ``chain/NAME@label`` as models are."""
