"""DMCM: dual-mix for cross-modal retrieval with noisy labels (Ding et al., ICASSP 2024)."""
