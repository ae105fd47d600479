"""Fine-tuning: recipes, preflight, runs and what they leave, sweeps, and the way to a model that can be prompted."""
