"""Fine-grained visual encoders that transformers' AutoBackbone does not have."""
