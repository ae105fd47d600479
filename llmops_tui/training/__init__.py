"""Fine-tuning: recipes, preflight, runs, sweeps, and export."""
