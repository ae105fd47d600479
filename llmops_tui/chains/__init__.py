"""Chains: steps that use each other's results, as a versioned text; run, resumed, evaluated and served."""
