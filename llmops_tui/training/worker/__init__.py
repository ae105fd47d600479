"""What runs in a training process alone: here torch, transformers, peft and trl are imported."""
